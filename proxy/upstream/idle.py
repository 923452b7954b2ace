"""The connections to one server that carry nothing just now: the last one is reused first."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from .connection import Connection
from .probing import SleepWatch

LOOK_AGAIN: Final = 1.0
"""Seconds of rest after which a connection's road is looked at before it is used again."""


Line = deque["asyncio.Future[Connection | None]"]
"""Those who wait for a connection, the first one first; None is the right to dial a new one."""


class IdleConnections:
    """Keeps each until it is taken, has been idle for too long or has ended.

    None is kept, and none taken, while others wait in `line`.
    """

    def __init__(self, line: Line) -> None:
        self.is_closed = False
        """Whether none is taken any more."""
        self._line = line
        self._loop = asyncio.get_running_loop()
        self._sleep = SleepWatch(self._loop)
        self._kept: list[Connection] = []
        self._sweeper: asyncio.TimerHandle | None = None

    def __bool__(self) -> bool:
        return bool(self._kept)

    def keep(self, connection: Connection) -> None:
        """Hand a free connection to the first in line, or keep it for the next request."""
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(connection)
                return
        self._kept.append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(connection.idle_limit, self._sweep)

    def take(self, max_idle: float) -> Connection | None:
        """The connection used last, for an exchange, if it is fit and idle for less than `max_idle` seconds."""
        if not self._kept or self._line or self.is_closed:
            return None
        now = self._loop.time()
        if self._sleep.has_slept(now):
            self._drop()
        while self._kept:
            connection = self._kept[-1]
            age = now - connection.idle_since
            if age < connection.idle_limit and connection.is_quiet and _leads_there(connection, age):
                if age >= max_idle:
                    return None
                return self._kept.pop()
            self._kept.pop()
            connection.abort()
        return None

    def give_way(self) -> None:
        """Close the one that has been idle for longest."""
        self._kept.pop(0).abort()

    def forget(self, connection: Connection) -> None:
        """Take note that a connection is gone, whether it was idle or not."""
        if connection in self._kept:
            self._kept.remove(connection)

    def close(self) -> None:
        """Give none away any more, and look after them no more."""
        self.is_closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()

    def _drop(self) -> None:
        """Close what the server has most likely given up meanwhile, without a word that could arrive."""
        for connection in self._kept:
            connection.abort()
        self._kept = []

    def _sweep(self) -> None:
        """Close what has been idle for too long, and come back when the next one will be."""
        self._sweeper = None
        now = self._loop.time()
        kept = []
        for connection in self._kept:
            if connection.closed or now - connection.idle_since >= connection.idle_limit:
                connection.abort()
            else:
                kept.append(connection)
        self._kept = kept
        if kept:
            due = min(connection.idle_since + connection.idle_limit for connection in kept)
            self._sweeper = self._loop.call_at(due, self._sweep)


def _leads_there(connection: Connection, age: float) -> bool:
    return age < LOOK_AGAIN or connection.road is None or connection.road.is_open
