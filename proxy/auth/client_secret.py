"""Sign in as the app itself, with its secret (RFC 6749 section 4.4)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ..config import ServerConfig
from ..errors import AuthenticationFailed
from ..model import Rejection
from ..rules.rejections import refused_after_sign_in
from .cache import AccessToken, CachedAuthenticator
from .claims import ClaimsChallenges
from .clock import Clock
from .entra import Entra
from .registration import Permission, authority_when_needed, registration, require
from .seams import Authenticator, Seams
from .threads import in_thread


def client_secret(config: ServerConfig, seams: Seams) -> Authenticator:
    """Tokens of the app; ConfigError names what is missing."""
    require(config, [("client_id",), ("client_secret", "client_secret_file"), ("tenant", "authority")])
    entra = Entra(
        authority_when_needed(config, seams.probe),
        registration(config, Permission.APP),
        seams.clock,
    )
    explain = partial(refused_after_sign_in, config)
    return CachedAuthenticator(ClientSecretSource(config, entra, seams.clock), seams.clock, explain)


class ClientSecretSource:
    """A TokenSource that reads the secret anew each time, so that a rotated one needs no restart."""

    def __init__(self, config: ServerConfig, entra: Entra, clock: Clock) -> None:
        self._config = config
        self._entra = entra
        self._claims = ClaimsChallenges(config, clock)

    async def acquire(self, *, rejected: Rejection | None) -> AccessToken:
        """A new token of the app."""
        claims = self._claims.wanted(rejected)
        return await self._entra.app_token(await in_thread(self._secret), claims=claims)

    async def close(self) -> None:
        """Close the connections to Entra ID."""
        self._entra.close()

    def _secret(self) -> str:
        if self._config.client_secret is not None:
            return self._config.client_secret.get_secret_value()
        path = self._config.client_secret_file
        try:
            secret = Path(path).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise AuthenticationFailed(
                f"client_secret_file = {path!r} cannot be read: {reason}",
                hint="Name a file that holds the secret alone and that the proxy may read.",
            ) from error
        if not secret:
            raise AuthenticationFailed(
                f"client_secret_file = {path!r} is empty", hint="Write the secret's value into it."
            )
        return secret
