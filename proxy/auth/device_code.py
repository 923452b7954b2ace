"""Sign in on another device: a code is shown here and typed there (RFC 8628)."""

from __future__ import annotations

from functools import partial

from ..config import ServerConfig
from ..errors import IdentityProviderUnavailable, SignInRequired
from ..rules.rejections import refused_after_sign_in
from .answers import cleaned
from .cache import CachedAuthenticator
from .clock import Clock
from .entra import Entra
from .people import People
from .person import Announce, PersonalSource
from .registration import Permission, authority_when_needed, registration, require
from .seams import Authenticator, Seams
from .sources import AccessToken
from .token_caches import personal_place


def device_code(config: ServerConfig, seams: Seams) -> Authenticator:
    """Tokens of the person who types the code; ConfigError names what is missing."""
    require(config, [("client_id",)])
    entra = Entra(
        authority_when_needed(config, seams.probe),
        registration(config, Permission.PERSON),
        seams.clock,
        people=People(config),
        place=personal_place(config, seams.clock, seams.tell),
    )
    source = PersonalSource(config, seams, entra, DeviceWay(seams.clock, entra))
    return CachedAuthenticator(source, seams.clock, partial(refused_after_sign_in, config), source)


class DeviceWay:
    """The way over a browser anywhere."""

    def __init__(self, clock: Clock, entra: Entra) -> None:
        self._clock = clock
        self._entra = entra

    async def sign_in(self, announce: Announce) -> AccessToken:
        """The token of whoever types the code before it expires."""
        flow = await self._entra.device_flow()
        expires_at = self._clock.time() + flow.expires_in
        announce(f"Sign in at {cleaned(flow.verification_uri)} with the code {cleaned(flow.user_code)}")
        patience = 0.0
        while self._clock.time() < expires_at:
            await self._clock.sleep(flow.interval + patience)
            try:
                token = await self._entra.polled(flow)
            except IdentityProviderUnavailable:
                patience += flow.interval  # RFC 8628 section 3.5: after a failed connection, poll more slowly
                continue
            if token is not None:
                return token
        raise SignInRequired(
            f"The code {cleaned(flow.user_code)} expired before anybody signed in with it",
            hint="Try again; there will be a new code.",
        )
