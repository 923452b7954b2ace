"""Sign in as the app itself (RFC 6749 section 4.4), however it proves who it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..config import AuthMethod, ServerConfig
from ..config.checks import NEEDS
from ..model import Rejection
from ..rules.rejections import refused_after_sign_in
from .cache import CachedAuthenticator
from .claims import ClaimsChallenges
from .clock import Clock
from .entra import Entra
from .proofs import Proof
from .registration import Permission, authority_when_needed, registration, require
from .seams import Authenticator, Seams
from .sources import AccessToken
from .threads import in_thread
from .token_caches import app_place


def app_authenticator(
    config: ServerConfig, seams: Seams, method: AuthMethod, prove: Callable[[], Proof]
) -> Authenticator:
    """Tokens of the app; ConfigError names what the method lacks.

    `prove` is called for each acquisition, off the event loop, so that what it reads may be replaced at any time.
    """
    require(config, NEEDS[method])
    entra = Entra(
        authority_when_needed(config, seams.probe),
        registration(config, Permission.APP),
        seams.clock,
        place=app_place(config, seams.clock),
    )
    source = AppSource(config, entra, seams.clock, prove)
    return CachedAuthenticator(source, seams.clock, partial(refused_after_sign_in, config))


class AppSource:
    """A TokenSource that proves the app's identity anew each time."""

    def __init__(self, config: ServerConfig, entra: Entra, clock: Clock, prove: Callable[[], Proof]) -> None:
        self._config = config
        self._entra = entra
        self._clock = clock
        self._claims = ClaimsChallenges(config, clock)
        self._prove = prove

    async def acquire(self, *, rejected: Rejection | None) -> AccessToken:
        """A new token of the app, with the claims that the server asked for when it refused the last one."""
        claims = self._claims.wanted(rejected)
        proof = await in_thread(self._prove)
        return await self._entra.app_token(proof, claims=claims, was_refused=rejected is not None)

    def beside(self, audience: str) -> AppSource:
        """The same app's tokens for another audience."""
        return AppSource(self._config, self._entra.beside(audience), self._clock, self._prove)

    async def close(self) -> None:
        """Close the connections to Entra ID."""
        self._entra.close()
