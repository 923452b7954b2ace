"""The id token of a GitHub Actions job, which stands in for a secret. Imports requests: when first needed.

Source: GitHub, "Security hardening with OpenID Connect", requesting the JWT using environment variables.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from requests import RequestException, Response
from requests.exceptions import JSONDecodeError

from ..config import ServerConfig
from ..errors import AuthenticationFailed, IdentityProviderUnavailable
from .http import EntraHttp

AUDIENCE = "api://AzureADTokenExchange"
"""What a federated credential expects, unless its owner has chosen another one."""

HINT = "The job or workflow needs `permissions: id-token: write`; the two variables hold for that job alone."

CONNECT, READ = 5.0, 10.0
"""Seconds for a connection and for a silence."""


def id_token(config: ServerConfig) -> str:
    """A fresh id token of the job; it blocks. AuthenticationFailed or IdentityProviderUnavailable."""
    host = urlsplit(config.github_token_url).netloc
    http = EntraHttp(config.ca_bundle, CONNECT, READ)
    try:
        response = http.get(
            config.github_token_url,
            params={"audience": AUDIENCE},
            headers={"Authorization": f"bearer {_request_token(config)}", "Accept": "application/json"},
        )
    except RequestException as error:
        raise IdentityProviderUnavailable(
            f"GitHub's token service at {host} cannot be asked for an id token ({type(error).__name__})",
            hint="Try again.",
        ) from error
    finally:
        http.close()
    if response.status_code != 200:
        raise AuthenticationFailed(
            f"GitHub's token service at {host} answers {response.status_code} instead of an id token.",
            hint=HINT,
        )
    return _value(response, host)


def _request_token(config: ServerConfig) -> str:
    return config.github_token.value if config.github_token is not None else ""


def _value(response: Response, host: str) -> str:
    try:
        value = response.json().get("value")
    except JSONDecodeError:
        value = None
    if not isinstance(value, str) or not value:
        raise AuthenticationFailed(f"GitHub's token service at {host} sends no id token.", hint=HINT)
    return value
