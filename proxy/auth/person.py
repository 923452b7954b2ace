"""Tokens of a person: renewed without them as long as that works, asked of them when it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from ..config import ServerConfig
from ..errors import SignInRequired
from ..model import Rejection
from .claims import ClaimsChallenges
from .entra import Entra
from .seams import Seams
from .sources import AccessToken, TokenSource

Announce = Callable[[str], None]
"""Takes the sentence that tells where to sign in, for the terminal and for requests that wait."""


class SignInWay(Protocol):
    """One way to have a person sign in."""

    async def sign_in(self, announce: Announce) -> AccessToken:
        """Begin, announce where the person has to go, and wait until they are done."""


class PersonalSource:
    """A TokenSource that is its own Person."""

    def __init__(self, config: ServerConfig, seams: Seams, entra: Entra, way: SignInWay) -> None:
        self.patience = config.sign_in_wait
        self._base_url = str(config.base_url)
        self._time_limit = config.sign_in_timeout
        self._clock = seams.clock
        self._tell = seams.tell
        self._entra = entra
        self._way = way
        self._claims = ClaimsChallenges(config, seams.clock)
        self._where = ""
        self._token_is_issued = False

    async def acquire(self, *, rejected: Rejection | None) -> AccessToken:
        """A token by the refresh token; SignInRequired where that is missing, dead or not enough."""
        claims = self._claims.wanted(rejected)
        force = self._token_is_issued or rejected is not None
        is_first = self._entra.account is None
        token = await self._entra.renewed(force=force, claims=claims, was_refused=rejected is not None)
        self._token_is_issued = True
        if is_first:
            self._tell_who()
        return token

    async def sign_in(self, reason: SignInRequired) -> AccessToken:
        """The token of whoever signs in; SignInRequired when nobody does within the configured time."""
        if self._token_is_issued:
            self._tell(f"{self._base_url}: sign in again. {reason.message}")
        try:
            token = await self._in_time()
        finally:
            self._where = ""
        self._token_is_issued = True
        self._tell_who()
        return token

    def awaited(self) -> SignInRequired | None:
        """What a request is told that waits no longer; None while no sign-in is open."""
        if not self._where:
            return None
        return SignInRequired(
            f"{self._base_url} needs somebody to sign in, and nobody has done so yet",
            hint=f"{self._where} Then try again.",
            retry_after=round(self.patience),
        )

    def beside(self, audience: str) -> TokenSource:
        """The same person's tokens for another audience."""
        return _SecondAudience(self._entra, audience)

    async def close(self) -> None:
        """Close the connections to Entra ID."""
        self._entra.close()

    def _tell_who(self) -> None:
        account = self._entra.account
        self._tell(f"{self._base_url}: signed in as {account or 'an account without name'}")

    async def _in_time(self) -> AccessToken:
        person = asyncio.ensure_future(self._way.sign_in(self._announce))
        limit = asyncio.ensure_future(self._clock.sleep(self._time_limit))
        try:
            await asyncio.wait({person, limit}, return_when=asyncio.FIRST_COMPLETED)
            if person.done():
                return person.result()
        finally:
            limit.cancel()
            if not person.done():
                person.cancel()
                await asyncio.wait({person})
        raise SignInRequired(
            f"Nobody completed the sign-in for {self._base_url} within {self._time_limit:g} seconds",
            hint="Try again and sign in, or allow more time with --sign-in-timeout.",
        )

    def _announce(self, where: str) -> None:
        self._where = where
        self._tell(f"{self._base_url}: {where}")


class _SecondAudience:
    """A TokenSource for what a person may reach besides the server, by the refresh token of the sign-in there."""

    def __init__(self, entra: Entra, audience: str) -> None:
        self._entra = entra
        self._audience = audience
        self._token_is_issued = False

    async def acquire(self, *, rejected: Rejection | None) -> AccessToken:
        """A token by the refresh token; SignInRequired where there is none, or where consent is missing."""
        force = self._token_is_issued or rejected is not None
        token = await self._entra.renewed_for(self._audience, force=force, was_refused=rejected is not None)
        self._token_is_issued = True
        return token

    async def close(self) -> None:
        """Nothing: the connections are the sign-in's."""
