"""Waiting for a server that asks for patience: one pause and one limit for all its clients."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections import deque
from collections.abc import Callable

from .auth import Clock
from .errors import ProxyUnavailable
from .model import ResponseHead
from .rules.retries import PATIENCE_STATUSES, SPREAD, Pace, asked_pause

logger = logging.getLogger(__name__)


class Patience:
    """The seconds that one exchange may still be held."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class Turn:
    """One request under way, from its sending until its answer's head."""

    def __init__(self, pacing: Pacing, begun: float) -> None:
        self._pacing = pacing
        self._begun = begun

    def answered(self, head: ResponseHead) -> float | None:
        """What the answer says about the pace; the seconds of a pause that is kept, else None."""
        return self._pacing.learn(head, self._begun)

    def end(self) -> None:
        """Let the next one go."""
        self._pacing.leave()


class Pacing:
    """The waiting room before one server.

    Nobody waits there longer than `longest` seconds: a pause beyond that is the tool's to keep, so the answer
    that asks for it passes on and nothing is held. None keeps no pauses at all.
    """

    def __init__(
        self, clock: Clock, longest: float | None, spread: Callable[[], float] = random.random
    ) -> None:
        self._clock = clock
        self._longest = longest
        self._spread = spread
        self._pace = Pace()
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def pause_seconds(self) -> float:
        """Seconds until the server takes requests again."""
        return self._pace.pause(self._clock.time())

    @property
    def concurrency_limit(self) -> float:
        """Requests that the server takes at a time; infinite where it asks for no patience."""
        return self._pace.limit

    def patience(self) -> Patience:
        """That of a new exchange."""
        return Patience(self._longest or 0.0)

    def free_turn(self) -> Turn | None:
        """A turn where nobody has to wait for one; None otherwise."""
        now = self._clock.time()
        pace = self._pace
        if self._queue or not pace.has_room or pace.pause(now):
            return None
        pace.begin()
        return Turn(self, now)

    async def turn(self, patience: Patience) -> Turn:
        """Wait until a request may be sent; ProxyUnavailable where that takes longer than its patience."""
        free = self.free_turn()
        if free is not None:
            return free
        if self._longest is not None:
            try:
                await self._wait(patience)
            except BaseException:
                self._call_next()  # It may have been called, and the turn must not be lost.
                raise
        self._pace.begin()
        if self._pace.has_room:
            self._call_next()
        return Turn(self, self._clock.time())

    def may_repeat(self, patience: Patience) -> bool:
        """Whether a request may be sent again after the pause that is kept; it is counted."""
        return self._pace.pause(self._clock.time()) <= patience.seconds and self._pace.take_repetition()

    def learn(self, head: ResponseHead, begun: float) -> float | None:
        """Keep the pause that an answer asks for, to a request sent at `begun`; None where none is kept."""
        if self._longest is None:
            return None
        if head.status not in PATIENCE_STATUSES:
            self._pace.accepted()
            return None
        now = self._clock.time()
        pause = asked_pause(head, now)
        if pause is None:
            self._pace.accepted()
        elif pause <= self._longest:
            self._pace.throttled(pause, begun, now)
            logger.debug(
                "A server asks for a pause of %.1f seconds; then it gets %.0f requests at a time.",
                pause,
                self._pace.limit,
            )
            return pause
        return None

    def leave(self) -> None:
        """A request is no longer under way."""
        self._pace.end()
        self._call_next()

    async def _wait(self, patience: Patience) -> None:
        is_called = False
        while True:
            if self._pace.pause(self._clock.time()):
                await self._pause(patience)
            elif self._pace.has_room and (is_called or not self._queue):
                return
            else:
                await self._room(patience)
                is_called = True

    async def _pause(self, patience: Patience) -> None:
        pause = self._pace.pause(self._clock.time())
        if pause > patience.seconds:
            raise _impatient(pause)
        seconds = min(pause * (1 + SPREAD * self._spread()), patience.seconds)
        patience.seconds -= seconds
        await self._clock.sleep(seconds)

    async def _room(self, patience: Patience) -> None:
        begun = self._clock.time()
        called = asyncio.get_running_loop().create_future()
        self._queue.append(called)
        bell = asyncio.ensure_future(self._clock.sleep(patience.seconds))
        try:
            await asyncio.wait({called, bell}, return_when=asyncio.FIRST_COMPLETED)
            if not called.done():
                raise _impatient(1.0)
        finally:
            bell.cancel()
            if not called.done():
                self._queue.remove(called)
        patience.seconds = max(0.0, patience.seconds - max(0.0, self._clock.time() - begun))

    def _call_next(self) -> None:
        if self._queue:
            self._queue.popleft().set_result(None)


def _impatient(seconds: float) -> ProxyUnavailable:
    return ProxyUnavailable(
        "The server asks for patience, and this request has waited for as long as retry_wait allows.",
        hint="Send fewer requests at a time, or set retry_wait to more seconds.",
        retry_after=max(1, math.ceil(seconds)),
    )
