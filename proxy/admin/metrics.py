"""What is counted, as plain numbers: no id, no query, no resource type that a tool could invent.

`exposition` makes Prometheus' objects of them when somebody asks.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from .exchange_counts import ExchangeCounts
from .ledger import Count
from .levels import Measured


@dataclass(slots=True)
class Tally:
    """How often something has happened, and since when it is counted (Unix seconds)."""

    number: int = 0
    since: float = field(default_factory=time.time)


class Metrics:
    """The counts of one process; `server` is the base URL of the server that they are about."""

    def __init__(self) -> None:
        self.exchanges = ExchangeCounts()
        self.tokens: defaultdict[str, Tally] = defaultdict(Tally)
        """Different tokens, by server."""
        self.failures: defaultdict[tuple[str, str], Tally] = defaultdict(Tally)
        """Requests without a token, by server and by what went wrong."""
        self.measured: list[Measured] = []
        """Whose levels are read when the metrics are asked for."""
        self.refresh: Callable[[], Awaitable[None]] | None = None
        """Brings what other processes have counted, where there are any."""

    @property
    def count_exchange(self) -> Count:
        """Who counts the exchanges."""
        return self.exchanges.count

    def token(self, server: str) -> None:
        """Count a token that is used for the first time."""
        self.tokens[server].number += 1

    def failure(self, server: str, kind: str) -> None:
        """Count a request for which there was no token."""
        self.failures[server, kind].number += 1

    def measure(self, measured: Measured) -> None:
        """Read this one's levels whenever the metrics are asked for."""
        self.measured.append(measured)

    def forget(self, measured: Measured) -> None:
        """Read them no more."""
        self.measured.remove(measured)
        self.tidy()

    def tidy(self) -> None:
        """Drop the counts of servers that nobody serves any more."""
        served = {measured.server for measured in self.measured}
        self.exchanges.keep(served)
        for server in self.tokens.keys() - served:
            del self.tokens[server]
        for key in [key for key in self.failures if key[0] not in served]:
            del self.failures[key]
