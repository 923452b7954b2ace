"""What rises and falls: read when the metrics are asked for, from the proxies that serve at that moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol


class Measured(Protocol):
    """One proxy, as it is now."""

    @property
    def server(self) -> str:
        """The base URL of its server."""

    @property
    def token_seconds(self) -> float:
        """Seconds until the token in use expires; NaN where that is not known."""

    @property
    def client_connections(self) -> int:
        """Connections of tools that are open."""

    @property
    def upstream_connections(self) -> int:
        """Connections to the server that are open."""

    @property
    def pause_seconds(self) -> float:
        """Seconds until the server takes requests again."""

    @property
    def concurrency_limit(self) -> float:
        """Requests that the server takes at a time; infinite where it asks for no patience."""


class Level(NamedTuple):
    """One gauge, and what two proxies before the same server come to."""

    name: str
    words: str
    read: Callable[[Measured], float]
    together: Callable[[Iterable[float]], float]


LEVELS = (
    Level(
        "token_seconds_to_expiry",
        "Seconds until the token in use expires; NaN where that is not known.",
        lambda proxy: proxy.token_seconds,
        min,
    ),
    Level(
        "client_connections",
        "Connections of tools that are open.",
        lambda proxy: proxy.client_connections,
        sum,
    ),
    Level(
        "upstream_connections",
        "Connections to the server that are open.",
        lambda proxy: proxy.upstream_connections,
        sum,
    ),
    Level(
        "throttle_pause_seconds",
        "Seconds until the server takes requests again; 0 where it asks for no patience.",
        lambda proxy: proxy.pause_seconds,
        max,
    ),
    Level(
        "concurrency_limit",
        "Requests that may be under way at a time since the server asked for patience; +Inf otherwise.",
        lambda proxy: proxy.concurrency_limit,
        sum,
    ),
)
