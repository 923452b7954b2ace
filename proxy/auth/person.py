"""Tokens of a person: renewed without them as long as that works, asked of them when it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from ..config import AuthMethod, ServerConfig
from ..errors import SignInRequired
from ..model import Rejection
from .claims import ClaimsChallenges
from .entra import Entra
from .flows import Invitation, Start
from .seams import Seams
from .sources import AccessToken, TokenSource

Announce = Callable[[Invitation], None]
"""Takes what tells where to sign in, for the terminal, the page and requests that wait."""


class SignInWay(Protocol):
    """One way to have a person sign in."""

    async def sign_in(self, start: Start, announce: Announce) -> AccessToken:
        """Begin, announce where the person has to go, and wait until they are done."""


class PersonalSource:
    """A TokenSource that is its own Person.

    `ways` are those that the person may choose from, by method; `first` is begun for a request that needs a
    sign-in.
    """

    def __init__(
        self,
        config: ServerConfig,
        seams: Seams,
        entra: Entra,
        ways: Mapping[AuthMethod | None, SignInWay],
        first: Callable[[], Start],
    ) -> None:
        self.patience = config.sign_in_wait
        self.invitation: Invitation | None = None
        """What the person has to do now; None while nobody is asked, and until the sign-in has begun."""
        self._base_url = str(config.base_url)
        self._time_limit = config.sign_in_timeout
        self._clock = seams.clock
        self._tell = seams.tell
        self._page = seams.page
        self._entra = entra
        self._ways = ways
        self._first = first
        self._claims = ClaimsChallenges(config, seams.clock)
        self._called: Start | None = None
        self._under_way: Start | None = None
        self._invited = asyncio.Event()
        self._turn: asyncio.Future[Start | None] | None = None
        self._token_is_issued = False

    @property
    def is_called(self) -> bool:
        """Whether the person wants to sign in, and the sign-in has not begun."""
        return self._called is not None

    @property
    def is_open(self) -> bool:
        """Whether a sign-in is under way."""
        return self._turn is not None

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

    def call(self, start: Start) -> None:
        """Have the next sign-in begin in this way, or the one that is under way go on in it."""
        if self._turn is None:
            self._called = start
        elif start != self._under_way and not self._turn.done():
            self._withdraw()
            self._turn.set_result(start)

    async def invited(self) -> None:
        """Wait until the person is told what to do."""
        await self._invited.wait()

    def cancel(self) -> None:
        """End the sign-in that is under way, if there is one: it raises SignInRequired."""
        self._called = None
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)

    async def sign_in(self, reason: SignInRequired | None) -> AccessToken:
        """The token of whoever signs in; SignInRequired when nobody does within the configured time."""
        if self._token_is_issued and reason is not None:
            self._tell(f"{self._base_url}: sign in again. {reason.message}")
        before = self._entra.account
        start, self._called = self._called or self._first(), None
        limit = asyncio.ensure_future(self._clock.sleep(self._time_limit))
        try:
            token = await self._led(start, limit)
        finally:
            limit.cancel()
            self._turn = None
            self._withdraw()
        self._token_is_issued = True
        after = self._entra.account
        if before is not None and after is not None and before.home_account_id != after.home_account_id:
            self._tell(f"{self._base_url}: requests are made as another account from now on")
        self._tell_who()
        return token

    async def sign_out(self) -> None:
        """Forget whoever has signed in."""
        await self._entra.forget()
        self._token_is_issued = False
        self._tell(f"{self._base_url}: signed out")

    def awaited(self) -> SignInRequired | None:
        """What a request is told that waits no longer; None while no sign-in is open."""
        if self.invitation is None:
            return None
        page = self._page()
        elsewhere = f", or on the proxy's own page, {page}" if page not in self.invitation.text else ""
        return SignInRequired(
            f"{self._base_url} needs somebody to sign in, and nobody has done so yet",
            hint=f"{self.invitation.text}{elsewhere}. Then try again.",
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

    async def _led(self, start: Start, limit: asyncio.Future[None]) -> AccessToken:
        """The token at the end of the way, of the last one where the person takes another meanwhile."""
        while True:
            self._under_way = start
            turn = self._turn = asyncio.get_running_loop().create_future()
            person = asyncio.ensure_future(self._ways[start.method].sign_in(start, self._announce))
            try:
                ends: set[asyncio.Future[AccessToken] | asyncio.Future[None] | asyncio.Future[Start | None]]
                ends = {person, limit, turn}
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                if person.done():
                    return person.result()
            finally:
                if not person.done():
                    person.cancel()
                    await asyncio.wait({person})
                self._withdraw()
            if not turn.done():
                raise SignInRequired(
                    f"Nobody completed the sign-in for {self._base_url} within {self._time_limit:g} seconds",
                    hint=f"{self._again()}, or allow more time with --sign-in-timeout.",
                )
            if (other := turn.result()) is None:
                raise SignInRequired(
                    f"The sign-in for {self._base_url} was cancelled", hint=f"{self._again()}."
                )
            start = other

    def _again(self) -> str:
        page = self._page()
        return f"Try again and sign in{f' at {page}' if page else ''}"

    def _announce(self, invitation: Invitation) -> None:
        self.invitation = invitation
        self._invited.set()
        self._tell(f"{self._base_url}: {invitation.text}")

    def _withdraw(self) -> None:
        self.invitation = None
        self._invited.clear()


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
