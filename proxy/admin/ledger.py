"""What each exchange with one server is noted in: the last minutes, the metrics, and whether the server is there."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..errors import ProxyError, RequestRefused
from ..model import FinishedExchange
from .traffic import Traffic

Count = Callable[[str, FinishedExchange], None]
"""Counts an exchange with the server of a base URL."""


class Ledger:
    """Notes the exchanges with one server, as their Observer.

    `now` tells Unix seconds; `remember` hears of each failure.
    """

    __slots__ = ("_count", "_now", "_remember", "_server", "reached_at", "traffic")

    def __init__(
        self,
        server: str,
        now: Callable[[], float],
        remember: Callable[[ProxyError], None],
        count: Count | None = None,
    ) -> None:
        self._server = server
        self._now = now
        self._remember = remember
        self._count = count
        self.traffic = Traffic()
        self.reached_at = -math.inf
        """Unix seconds at which the server was last seen to be there; minus infinity once it was not."""

    def finished(self, exchange: FinishedExchange) -> None:
        """Take note of an exchange that is over."""
        now = self._now()
        if exchange.failed is None:
            if exchange.upstream_seconds is not None and not exchange.account:
                self.reached_at = now
        else:
            self._remember(exchange.failed)
            if not (exchange.account or isinstance(exchange.failed, RequestRefused)):
                self.reached_at = -math.inf
        self.traffic.add(exchange, now)
        if self._count is not None:
            self._count(self._server, exchange)
