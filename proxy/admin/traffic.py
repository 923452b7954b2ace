"""The last exchanges of one server and the last minutes in numbers, for people to look at; nothing of a patient.

It is bounded in whatever it keeps, and costs an exchange a few microseconds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from ..model import Classified, FinishedExchange
from .exchange_counts import class_of

LATEST: Final = 20
"""Exchanges that are shown one by one."""

SPAN: Final = 10
"""Seconds that one bar of a chart stands for."""

SPANS: Final = 30
"""Bars of a chart: five minutes."""

BOUNDS: Final[tuple[float, ...]] = tuple(0.001 * 2 ** (step / 2) for step in range(34))
"""Upper bounds in seconds of the classes in which times are counted: from 1 ms to 92 s, each 1.4 times the last, so
that a quantile is told with that precision."""

REFUSED: Final = "refused"
"""What is shown of a request that the guards did not let in."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One exchange as it is shown."""

    at: float
    """Unix seconds at its end."""
    interaction: str
    status: int
    milliseconds: int


@dataclass(slots=True)
class _Count:
    """The exchanges that ended in one span."""

    number: int
    exchanges: int = 0
    failures: int = 0
    classes: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))

    def within(self, share: float) -> float:
        """Seconds within which that share of them was over."""
        wanted, counted = share * self.exchanges, 0
        for bound, count in zip(BOUNDS, self.classes, strict=False):
            counted += count
            if counted >= wanted:
                return bound
        return BOUNDS[-1]


@dataclass(frozen=True, slots=True)
class Bar:
    """One span of the last minutes; times in seconds, 0 where nothing happened."""

    per_second: float
    failures: int
    half_within: float
    most_within: float
    """95 of 100 exchanges took no longer."""


class Traffic:
    """What the exchanges of one server come to."""

    def __init__(self) -> None:
        self._latest: deque[tuple[float, Classified | None, int, float]] = deque(maxlen=LATEST)
        self._counts: deque[_Count] = deque(maxlen=SPANS)

    def add(self, exchange: FinishedExchange, now: float) -> None:
        """Take note of an exchange that is over."""
        self._latest.appendleft((now, exchange.classified, exchange.status, exchange.seconds))
        number = int(now // SPAN)
        if not self._counts or self._counts[-1].number != number:
            self._counts.append(_Count(number))
        count = self._counts[-1]
        count.exchanges += 1
        count.failures += exchange.status >= 500
        count.classes[class_of(exchange.seconds, BOUNDS)] += 1

    @property
    def latest(self) -> tuple[Seen, ...]:
        """The last exchanges, the latest first."""
        return tuple(
            Seen(at, str(classified) if classified else REFUSED, status, round(seconds * 1000))
            for at, classified, status, seconds in self._latest
        )

    def bars(self, now: float) -> tuple[Bar, ...]:
        """The last minutes, the oldest first; the last bar is the span that has not ended."""
        counts = {count.number: count for count in self._counts}
        last = int(now // SPAN)
        return tuple(_bar(counts.get(number)) for number in range(last - SPANS + 1, last + 1))


def _bar(count: _Count | None) -> Bar:
    if count is None:
        return Bar(0.0, 0, 0.0, 0.0)
    return Bar(count.exchanges / SPAN, count.failures, count.within(0.5), count.within(0.95))
