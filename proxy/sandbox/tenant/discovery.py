"""What the tenant publishes of itself: its metadata (OpenID Connect Discovery section 3) and its keys."""

from __future__ import annotations

from aiohttp import web

from .authority import Authority
from .calls import Call
from .scopes import OPENID_SCOPES

TENANT_PLACEHOLDER = "{tenantid}"
"""What Entra writes into the issuer of an authority that is not one directory."""


class DiscoveryEndpoint:
    """Answers `/.well-known/openid-configuration` under an authority of either version, and its key set."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    async def version_1(self, call: Call) -> web.Response:
        """The metadata with the issuer of version 1 tokens."""
        return self._metadata(call.segment, 1)

    async def version_2(self, call: Call) -> web.Response:
        """The metadata with the issuer of version 2 tokens."""
        return self._metadata(call.segment, 2)

    async def keys(self, call: Call) -> web.Response:
        """The keys with which tokens are signed."""
        self._authority.directory(call.segment)
        return web.json_response(self._authority.signer.jwks())

    def _metadata(self, segment: str, version: int) -> web.Response:
        directory = self._authority.directory(segment)
        base = f"{self._authority.origin}/{segment}"
        issuer = self._authority.issuer(TENANT_PLACEHOLDER if directory is None else directory.id, version)
        return web.json_response(
            {
                "issuer": issuer,
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
                "jwks_uri": f"{base}/discovery/v2.0/keys",
                "response_types_supported": ["code"],
                "response_modes_supported": ["query", "form_post"],
                "grant_types_supported": [
                    "authorization_code",
                    "refresh_token",
                    "client_credentials",
                    "urn:ietf:params:oauth:grant-type:device_code",
                ],
                "scopes_supported": sorted(OPENID_SCOPES),
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
                "request_uri_parameter_supported": False,
                "tenant_region_scope": None,
            }
        )
