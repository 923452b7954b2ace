"""One token for all who ask: kept until it expires, renewed ahead, acquired once however many wait.

Strategy: everything happens in the event loop, so there are no locks. At most one acquisition (a *flight*) is
under way; it is a task of its own, so that whoever waits for it can go away without taking it down. Expiry is
decided by the wall clock at the moment of the request: a laptop that slept sends no dead token.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import math
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace

from cachetools import LRUCache, TLRUCache

from ..errors import (
    AuthenticationFailed,
    IdentityProviderUnavailable,
    ProxyError,
    ProxyUnavailable,
    SignInRequired,
)
from ..model import Credentials, Rejection
from .clock import Clock
from .renewal import times
from .seams import Authenticator, Explain
from .sources import AccessToken, Person, TokenSource, VersatileSource

FAILURE_PAUSE = 5.0
"""Seconds for which a failure is told again without an attempt: 1,000 requests are not 1,000 attempts."""

LONGEST_PAUSE = 300.0
"""Seconds of a `Retry-After` that are honoured at most; Entra ID itself asks for less."""

AHEAD_PAUSE = 30.0
"""Seconds between two attempts to renew a token that is still good."""

SECOND_REFUSAL = 30.0
"""Seconds within which a renewed token that is refused as well proves that renewing does not help."""

SET_BACK = 5.0
"""Seconds that the clock may go back unnoticed; time synchronization moves it by less."""

_CURRENT = "current"


_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """A token that is kept, with its times in Unix seconds."""

    credentials: Credentials
    acquired_at: float
    refresh_at: float
    usable_until: float
    was_forced: bool


@dataclass(frozen=True, slots=True)
class Flight:
    """An acquisition under way; `is_ahead` where no request waits for it, so that no person is asked."""

    task: asyncio.Task[Held | ProxyError]
    is_ahead: bool


@dataclass(frozen=True, slots=True)
class _Failure:
    error: ProxyError
    until: float


class CachedAuthenticator:
    """An Authenticator for one identity, around the source of its tokens.

    Belongs to one event loop. Raises what the source raises, each time as an exception of its own.
    `is_outdated` is asked for each request; where it says so, nothing that is kept is used any more. `spread`
    gives a number from 0 to 1, by which proxies that started together come apart.
    """

    def __init__(
        self,
        source: TokenSource,
        clock: Clock,
        explain: Explain,
        person: Person | None = None,
        *,
        is_outdated: Callable[[], bool] | None = None,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._source = source
        self._clock = clock
        self._explain = explain
        self._person = person
        self._is_outdated = is_outdated
        self._spread = spread
        self._held: TLRUCache[str, Held] = TLRUCache(
            1, ttu=lambda _key, held, _now: held.usable_until, timer=clock.time
        )
        self._newest: Held | None = None  # what it holds, for whoever asks often
        self._refused: LRUCache[bytes, Rejection] = LRUCache(64)
        self._flight: Flight | None = None
        self._failure: _Failure | None = None
        self._ahead_from = -math.inf
        self._latest = -math.inf
        self._is_closed = False

    async def credentials(self, rejected: Rejection | None = None) -> Credentials | None:
        """Valid credentials: at once while a token is held, otherwise when the one acquisition ends."""
        now = self._now()
        if rejected is not None:
            self._drop(rejected, now)
        if self._is_outdated is not None and self._is_outdated():
            self._forget()
        held = self._held.get(_CURRENT)
        if held is None:
            return await self._acquired(rejected)
        if (
            now >= held.refresh_at
            and now >= self._ahead_from
            and self._flight is None
            and not self._is_closed
        ):
            self._start(self._fly(None, is_ahead=True), is_ahead=True)
        return held.credentials

    def held(self) -> Credentials | None:
        """The token in use, while nothing is to be done about it; None where `credentials` has to be asked."""
        now, held = self._clock.time(), self._newest
        if (
            held is None
            or now >= held.refresh_at
            or now >= held.usable_until
            or now < self._latest - SET_BACK
        ):
            return None
        if self._is_outdated is not None and self._is_outdated():
            self._forget()  # it says so once
            return None
        self._latest = max(self._latest, now)
        return held.credentials

    def beside(self, audience: str, explain: Explain) -> Authenticator | None:
        """The same identity's Authenticator for another audience, None where the source has but one."""
        if not isinstance(self._source, VersatileSource):
            return None
        return CachedAuthenticator(self._source.beside(audience), self._clock, explain)

    async def close(self) -> None:
        """Stop what is under way; whoever waits gets ProxyUnavailable. A token that is held stays of use."""
        self._is_closed = True
        if self._flight is not None:
            self._flight.task.cancel()
            await asyncio.wait({self._flight.task})
        await self._source.close()

    def _now(self) -> float:
        now = self._clock.time()
        if now < self._latest - SET_BACK:
            self._set_back(now, self._latest - now)
        self._latest = max(self._latest, now)
        return now

    def _set_back(self, now: float, seconds: float) -> None:
        """Keep of every span what was left of it when the clock was last read, and renew soon."""
        self._latest = now
        self._ahead_from = now
        held = self._held.get(_CURRENT)
        if held is not None:
            self._hold(
                replace(
                    held,
                    acquired_at=held.acquired_at - seconds,
                    refresh_at=now,
                    usable_until=held.usable_until - seconds,
                )
            )
        if self._failure is not None:
            self._failure = replace(self._failure, until=self._failure.until - seconds)

    def _hold(self, held: Held) -> None:
        self._held[_CURRENT] = self._newest = held

    def _forget(self) -> None:
        self._held.clear()
        self._newest = None

    def _drop(self, rejected: Rejection, now: float) -> None:
        """Forget the refused token, unless a newer one has taken its place already."""
        if rejected.credentials is None:
            return
        refused = rejected.credentials.authorization
        self._refused[refused] = rejected
        held = self._held.get(_CURRENT)
        if held is None or held.credentials.authorization != refused:
            return
        self._forget()
        if held.was_forced and now < held.acquired_at + SECOND_REFUSAL:
            self._failure = _Failure(self._explain(rejected.challenges), now + FAILURE_PAUSE)

    async def _acquired(self, rejected: Rejection | None) -> Credentials:
        while True:
            flight = self._flight
            if flight is None:
                self._raise_remembered()
                flight = self._start(self._fly(rejected, is_ahead=False), is_ahead=False)
            outcome = await self._arrival(flight)
            if isinstance(outcome, Held):
                return outcome.credentials
            if flight.is_ahead and isinstance(outcome, SignInRequired):
                continue  # Nobody was asked yet, since no request waited when that flight began.
            raise copy.copy(outcome)

    def _raise_remembered(self) -> None:
        failure, now = self._failure, self._now()
        if failure is None or now >= failure.until:
            return
        error = copy.copy(failure.error)
        if isinstance(error, IdentityProviderUnavailable):
            error.retry_after = math.ceil(failure.until - now)
        raise error

    def _start(self, flying: Coroutine[None, None, Held | ProxyError], *, is_ahead: bool) -> Flight:
        if self._is_closed:
            flying.close()
            raise ProxyUnavailable("The proxy is stopping")
        self._flight = Flight(asyncio.create_task(flying), is_ahead)
        return self._flight

    async def _arrival(self, flight: Flight) -> Held | ProxyError:
        """What the flight brought; SignInRequired when it takes a person longer than a request is held."""
        while not flight.task.done():
            if self._person is None:
                await asyncio.wait({flight.task})
                continue
            patience = asyncio.ensure_future(self._clock.sleep(self._person.patience))
            try:
                await asyncio.wait({flight.task, patience}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                patience.cancel()
            awaited = self._person.awaited()
            if awaited is not None and not flight.task.done():
                raise awaited
        return await self._end(flight)

    async def _end(self, flight: Flight) -> Held | ProxyError:
        """What a flight brought, however long it took."""
        await asyncio.wait({flight.task})
        if flight.task.cancelled():
            raise ProxyUnavailable("The proxy is stopping")
        return flight.task.result()

    async def _fly(self, rejected: Rejection | None, *, is_ahead: bool) -> Held | ProxyError:
        try:
            held = await self._new(rejected, is_ahead=is_ahead)
        except ProxyError as error:
            failure = copy.copy(error)  # without its traceback, whose frames hold requests with secrets
            self._remember(failure, is_ahead=is_ahead)
            return failure
        finally:
            self._flight = None
        self._hold(held)
        self._failure = None
        return held

    async def _new(self, rejected: Rejection | None, *, is_ahead: bool) -> Held:
        try:
            token = await self._source.acquire(rejected=rejected)
            if rejected is None and (rejected := self._refusal_of(token)) is not None:
                token = await self._source.acquire(rejected=rejected)
        except SignInRequired as reason:
            if self._person is None or is_ahead:
                raise
            token = await self._person.sign_in(reason)
        if (refusal := self._refusal_of(token)) is not None:
            raise self._explain(refusal.challenges)
        return self._accepted(token, was_forced=rejected is not None, was_awaited=not is_ahead)

    def _refusal_of(self, token: AccessToken) -> Rejection | None:
        return self._refused.get(token.credentials().authorization)

    def _accepted(self, token: AccessToken, *, was_forced: bool, was_awaited: bool) -> Held:
        now = self._now()
        life = token.expires_at - now
        if life <= 0:
            raise AuthenticationFailed(
                f"The access token had expired {-life:.0f} seconds before it came",
                hint="Check the clock of this machine; a token from a file or a variable has to be replaced.",
            )
        found = times(now, token.expires_at, token.refresh_at, self._spread(), was_awaited=was_awaited)
        return Held(token.credentials(), now, found.refresh_at, found.usable_until, was_forced)

    def _remember(self, error: ProxyError, *, is_ahead: bool) -> None:
        now = self._now()
        pause = FAILURE_PAUSE if error.retry_after is None else min(error.retry_after, LONGEST_PAUSE)
        if isinstance(error, IdentityProviderUnavailable):
            error.retry_after = math.ceil(pause)
        self._ahead_from = now + max(pause, AHEAD_PAUSE)
        if is_ahead and _CURRENT in self._held:
            _log.warning("The token is still good but could not be renewed: %s", error.message)
        if not (is_ahead and isinstance(error, SignInRequired)):
            self._failure = _Failure(error, now + pause)
