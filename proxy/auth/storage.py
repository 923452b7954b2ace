"""Credentials for Azure's storage accounts: the server's identity, another audience."""

from __future__ import annotations

from dataclasses import replace

from ..config import ServerConfig
from ..errors import AuthenticationFailed
from ..model import Credentials, Rejection
from ..rules.audiences import STORAGE_AUDIENCE
from ..rules.storage_refusals import refused_by_storage
from ..rules.tokens import claim_text, unverified_claims
from .seams import Authenticator, Versatile


class StorageAuthenticator:
    """An Authenticator for the accounts that the settings name, of whoever signs in to the server.

    Whoever has to sign in does so for the server, so nobody is asked twice. `server` is not closed with it.
    Raises AuthenticationFailed where the way to sign in brings tokens for the server alone.
    """

    def __init__(self, config: ServerConfig, server: Authenticator) -> None:
        self._base_url = config.base_url
        self._server = server
        self._inner: Authenticator | None = None
        self._seen: Credentials | None = None
        self._whose = ("", "")

    async def credentials(self, rejected: Rejection | None = None) -> Credentials | None:
        """Credentials that open storage accounts and nothing else."""
        server = await self._server.credentials()
        if server is None:
            raise self._without("without signing in")
        if server is not self._seen:
            await self._look(server)
        if self._inner is None:
            self._inner = self._beside()
        if self._inner is None:
            raise self._without("with tokens that are made for it alone")
        credentials = await self._inner.credentials(rejected)
        return None if credentials is None else replace(credentials, for_storage=True)

    async def close(self) -> None:
        """Stop what is under way."""
        if self._inner is not None:
            await self._inner.close()

    async def _look(self, server: Credentials) -> None:
        """Forget what somebody else's sign-in has brought: a person may sign in again as another account."""
        claims = unverified_claims(server.token.decode("latin-1"))
        whose = (claim_text(claims, "tid"), claim_text(claims, "oid"))
        former = None
        if whose != self._whose:
            former, self._inner = self._inner, None
        self._seen, self._whose = server, whose
        if former is not None:
            await former.close()

    def _without(self, how: str) -> AuthenticationFailed:
        return AuthenticationFailed(
            f"{self._base_url} is used {how}, so there is no token for the storage accounts.",
            hint="export_storage needs a way to sign in that can ask for two: interactive, device-code, "
            "client-secret, client-certificate, workload-identity, managed-identity, azure-cli, azd or "
            "powershell.",
        )

    def _beside(self) -> Authenticator | None:
        if not isinstance(self._server, Versatile):
            return None
        return self._server.beside(STORAGE_AUDIENCE, refused_by_storage)
