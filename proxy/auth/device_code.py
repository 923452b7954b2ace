"""Sign in on another device: a code is shown here and typed there (RFC 8628)."""

from __future__ import annotations

from ..errors import IdentityProviderUnavailable, SignInRequired
from .answers import cleaned
from .clock import Clock
from .entra import Entra
from .flows import Invitation, Start
from .person import Announce
from .sources import AccessToken


class DeviceWay:
    """The way over a browser anywhere."""

    def __init__(self, clock: Clock, entra: Entra) -> None:
        self._clock = clock
        self._entra = entra

    async def sign_in(self, start: Start, announce: Announce) -> AccessToken:  # noqa: ARG002  it always asks who
        """The token of whoever types the code before it expires."""
        flow = await self._entra.device_flow()
        expires_at = self._clock.time() + flow.expires_in
        address, code = cleaned(flow.verification_uri), cleaned(flow.user_code)
        announce(
            Invitation(
                f"Sign in at {address} with the code {code}", address, code, expires_at, method="device-code"
            )
        )
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
            f"The code {code} expired before anybody signed in with it",
            hint="Try again; there will be a new code.",
        )
