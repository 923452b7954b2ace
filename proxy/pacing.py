"""A server that asks for patience: one pause and one limit for all its clients. `patience` waits."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from random import random

from .auth import Clock
from .model import ResponseHead
from .rules.retries import PATIENCE_STATUSES, Pace, asked_pause

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

    def __init__(self, clock: Clock, longest: float | None, spread: Callable[[], float] = random) -> None:
        self.clock = clock
        self.longest = longest
        self.spread = spread
        self.pace = Pace()
        self.queue: deque[asyncio.Future[None]] = deque()

    @property
    def pause_seconds(self) -> float:
        """Seconds until the server takes requests again."""
        return self.pace.pause(self.clock.time())

    @property
    def concurrency_limit(self) -> float:
        """Requests that the server takes at a time; infinite where it asks for no patience."""
        return self.pace.limit

    def patience(self) -> Patience:
        """That of a new exchange."""
        return Patience(self.longest or 0.0)

    def free_turn(self) -> Turn | None:
        """A turn where nobody has to wait for one; None otherwise."""
        now = self.clock.time()
        pace = self.pace
        if self.queue or not pace.has_room or pace.pause(now):
            return None
        pace.begin()
        return Turn(self, now)

    def begin(self) -> Turn:
        """The turn of a request that has waited for it."""
        self.pace.begin()
        if self.pace.has_room:
            self.call_next()
        return Turn(self, self.clock.time())

    def may_repeat(self, patience: Patience) -> bool:
        """Whether a request may be sent again after the pause that is kept; it is counted."""
        return self.pace.pause(self.clock.time()) <= patience.seconds and self.pace.take_repetition()

    def learn(self, head: ResponseHead, begun: float) -> float | None:
        """Keep the pause that an answer asks for, to a request sent at `begun`; None where none is kept."""
        if self.longest is None:
            return None
        if head.status not in PATIENCE_STATUSES:
            self.pace.accepted()
            return None
        now = self.clock.time()
        pause = asked_pause(head, now)
        if pause is None:
            self.pace.accepted()
        elif pause <= self.longest:
            self.pace.throttled(pause, begun, now)
            logger.debug(
                "A server asks for a pause of %.1f seconds; then it gets %.0f requests at a time.",
                pause,
                self.pace.limit,
            )
            return pause
        return None

    def leave(self) -> None:
        """A request is no longer under way."""
        self.pace.end()
        self.call_next()

    def call_next(self) -> None:
        """Let the first in the queue look whether it may go."""
        if self.queue:
            self.queue.popleft().set_result(None)
