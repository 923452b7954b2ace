"""Tokens of a person, who signs in when a request needs it, or by themselves at the desk."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping
from functools import partial

from ..config import AuthMethod, ServerConfig
from ..errors import ProxyError, SignInRequired
from ..model import Rejection
from ..rules.rejections import refused_after_sign_in
from .cache import CachedAuthenticator, Held
from .device_code import DeviceWay
from .entra import Entra
from .flows import Invitation, Start
from .interactive import BrowserWay
from .people import People
from .person import Announce, PersonalSource, SignInWay
from .registration import Permission, authority_when_needed, registration, require
from .seams import Browser, Seams
from .sources import AccessToken
from .threads import in_thread
from .token_caches import personal_place


class PageWay:
    """The way over the page, where no terminal is: the person says there how they sign in.

    The page is opened in a browser once, if this machine has one.
    """

    def __init__(self, seams: Seams) -> None:
        self._page = seams.page
        self._browser: Browser | None = seams.browser

    async def sign_in(self, start: Start, announce: Announce) -> AccessToken:  # noqa: ARG002  nothing begins yet
        """Wait for the person to take another way; it brings no token by itself."""
        page, browser, self._browser = self._page(), self._browser, None
        announce(Invitation(f"Sign in at {page}", page))
        if browser is not None:
            await in_thread(lambda: browser.open(page))
        never: asyncio.Future[AccessToken] = asyncio.get_running_loop().create_future()
        return await never


class PersonalAuthenticator(CachedAuthenticator):
    """An Authenticator that is a Desk: meanwhile requests go on with the token that there is."""

    def __init__(self, source: PersonalSource, config: ServerConfig, seams: Seams) -> None:
        super().__init__(source, seams.clock, partial(refused_after_sign_in, config), source)
        self._personal = source

    @property
    def invitation(self) -> Invitation | None:
        """What the person has to do now; None while nobody is asked, and until the sign-in has begun."""
        return self._personal.invitation

    @property
    def is_open(self) -> bool:
        """Whether a sign-in is under way."""
        return self._personal.is_open or self._personal.is_called

    async def sign_in(self, start: Start) -> None:
        """Begin, or begin again in another way, and wait for the end; raises what says why nobody signed in."""
        self._personal.call(start)
        while True:
            flight = self._flight or self._start(self._fly(None, is_ahead=False), is_ahead=False)
            outcome = await self._end(flight)
            if not self._personal.is_called:  # otherwise that was a renewal, which knew nothing of the call
                break
        if isinstance(outcome, ProxyError):
            raise copy.copy(outcome)

    async def resume(self) -> None:
        """Go on as whoever an earlier run has kept; raises why not, without asking anybody."""
        if self._flight is None and not self._held:
            outcome = await self._end(self._start(self._fly(None, is_ahead=True), is_ahead=True))
            if isinstance(outcome, ProxyError):
                raise copy.copy(outcome)

    async def invited(self) -> None:
        """Wait until the person is told what to do."""
        await self._personal.invited()

    async def cancel(self) -> None:
        """End the sign-in that is under way, if there is one; whoever waits for it gets SignInRequired."""
        self._personal.cancel()
        if self._personal.is_open and self._flight is not None:
            await asyncio.wait({self._flight.task})

    async def sign_out(self) -> None:
        """Forget the person and their tokens; requests that come meanwhile get SignInRequired."""
        self._personal.cancel()
        while self._flight is not None:
            await asyncio.wait({self._flight.task})
        self._held.clear()
        outcome = await self._end(self._start(self._leave(), is_ahead=False))
        if isinstance(outcome, ProxyError) and not isinstance(outcome, SignInRequired):
            raise copy.copy(outcome)

    async def _leave(self) -> Held | ProxyError:
        try:
            await self._personal.sign_out()
        except ProxyError as error:
            return copy.copy(error)
        finally:
            self._flight = None
        self._failure = None
        return SignInRequired("Whoever was signed in has just signed out", hint="Try again, and sign in.")

    async def _new(self, rejected: Rejection | None, *, is_ahead: bool) -> Held:
        if self._personal.is_called and not is_ahead:
            return self._accepted(await self._personal.sign_in(None), was_forced=False, was_awaited=True)
        return await super()._new(rejected, is_ahead=is_ahead)


def personal(config: ServerConfig, seams: Seams) -> PersonalAuthenticator:
    """Tokens of the person who signs in, first by the method of the settings; ConfigError names what is missing.

    With nobody at a terminal, a page takes the place of the browser that would open for a tool's request.
    """
    require(config, [("client_id",)])
    entra = Entra(
        authority_when_needed(config, seams.probe),
        registration(config, Permission.PERSON),
        seams.clock,
        people=People(config),
        place=personal_place(config, seams.clock, seams.tell),
    )
    ways: Mapping[AuthMethod | None, SignInWay] = {
        "interactive": BrowserWay(config, seams.browser, entra),
        "device-code": DeviceWay(seams.clock, entra),
        None: PageWay(seams),
    }

    def first() -> Start:
        is_on_page = config.auth == "interactive" and not seams.attended and seams.page()
        return Start(None if is_on_page else config.auth)

    return PersonalAuthenticator(PersonalSource(config, seams, entra, ways, first), config, seams)
