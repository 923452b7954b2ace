"""What every exchange adds to: plain numbers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from ..model import FinishedExchange

SECONDS: Final[tuple[float, ...]] = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
)
"""Upper bounds of the latency classes: a cached read takes milliseconds, a large search a minute."""


def class_of(seconds: float, bounds: tuple[float, ...]) -> int:
    """The class of a time by the upper bounds of all but the last one; almost all times are in the first few."""
    number = 0
    while number < len(bounds) and bounds[number] < seconds:
        number += 1
    return number


class Durations:
    """A histogram of seconds."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        """By class, with one more for what is above all bounds."""
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[class_of(seconds, SECONDS)] += 1
        self.sum += seconds


class KindCounts:
    """The exchanges of one kind with one server."""

    __slots__ = ("by_class", "seconds")

    def __init__(self) -> None:
        self.by_class = [0] * 6
        """By the first digit of the status."""
        self.seconds = Durations()


class ServerCounts:
    """The exchanges with one server."""

    __slots__ = ("kinds", "retries", "sent_bytes", "upstream_seconds")

    def __init__(self) -> None:
        self.kinds: dict[str, KindCounts] = {}
        self.upstream_seconds = Durations()
        self.sent_bytes = 0
        self.retries = 0


class ExchangeCounts:
    """The exchanges of a process, by the base URL of their server."""

    def __init__(self) -> None:
        self.servers: dict[str, ServerCounts] = {}

    def count(self, server: str, finished: FinishedExchange) -> None:
        """Count an exchange."""
        counts = self.servers.get(server)
        if counts is None:
            counts = self.servers[server] = ServerCounts()
        kind = counts.kinds.get(finished.kind)
        if kind is None:
            kind = counts.kinds[finished.kind] = KindCounts()
        kind.by_class[finished.status // 100] += 1
        kind.seconds.add(finished.seconds)
        if finished.upstream_seconds is not None:
            counts.upstream_seconds.add(finished.upstream_seconds)
        counts.sent_bytes += finished.sent_bytes
        if finished.attempts > 1:
            counts.retries += finished.attempts - 1

    def keep(self, served: Collection[str]) -> None:
        """Drop what was counted of other servers."""
        for server in self.servers.keys() - set(served):
            del self.servers[server]
