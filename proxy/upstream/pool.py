"""The connections to one server: the last one is reused first, the idle ones are closed in time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from ..errors import ProxyUnavailable, UpstreamUnreachable
from ..stepping import in_task
from .connection import Connection
from .probing import SleepWatch

Dial = Callable[[], Awaitable[Connection]]
"""Open a new connection; raises UpstreamUnreachable, UpstreamTimeout or UpstreamProtocolError."""


LOOK_AGAIN = 1.0
"""Seconds of rest after which a connection's road is looked at before it is used again."""


class Pool:
    """At most `limit` connections to the server that errors call `where`.

    Who finds all of them busy waits in line for up to `patience` seconds.
    """

    def __init__(self, dial: Dial, where: str, limit: int, patience: float) -> None:
        self._dial = dial
        self._where = where
        self._limit = limit
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._sleep = SleepWatch(self._loop)
        self._open: set[Connection] = set()
        self._idle: list[Connection] = []
        self._dialing = 0
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._sweeper: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Future[None] | None = None

    @property
    def size(self) -> int:
        """Connections that are open."""
        return len(self._open)

    async def acquire(self, max_idle: float) -> Connection:
        """A connection for one exchange, idle for less than `max_idle` seconds or new.

        Raises ProxyUnavailable where none comes free in time, and what dialing raises.
        """
        await in_task()  # here and below time limits hold
        while True:
            if self._emptied is not None:
                raise ProxyUnavailable("The proxy is stopping.")
            connection = self.reusable(max_idle)
            if connection is not None:
                return connection
            if self._waiting or not self._has_room():
                connection = await self._turn()
                if connection is not None:
                    if connection.is_quiet:
                        return connection
                    connection.abort()
                    continue
            else:
                self._dialing += 1
            return await self._dialed()

    def put_back(self, connection: Connection) -> None:
        """Hand a free connection to the first who waits, or keep it for the next request."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(connection)
                return
        self._idle.append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(connection.idle_limit, self._sweep)

    def forget(self, connection: Connection) -> None:
        """Make room for another connection: this one is gone."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._grant()
        self._check_emptied()

    async def close(self) -> None:
        """Close all connections, with whatever runs on them, and wait until they are gone."""
        if self._emptied is None:
            self._emptied = self._loop.create_future()
        if self._sweeper is not None:
            self._sweeper.cancel()
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(ProxyUnavailable("The proxy is stopping."))
        for connection in self._open:
            connection.abort()
        self._check_emptied()
        await asyncio.shield(self._emptied)

    def reusable(self, max_idle: float) -> Connection | None:
        """The connection used last, for an exchange, if it is fit, idle for less than `max_idle` seconds.

        None where there is none, or where others wait for one.
        """
        if not self._idle or self._waiting or self._emptied is not None:
            return None
        now = self._loop.time()
        if self._sleep.has_slept():
            self._drop_idle()
        while self._idle:
            connection = self._idle[-1]
            age = now - connection.idle_since
            if age < connection.idle_limit and connection.is_quiet and _leads_there(connection, age):
                if age >= max_idle:
                    return None
                return self._idle.pop()
            self._idle.pop()
            connection.abort()
        return None

    def _drop_idle(self) -> None:
        """Close what the server has most likely given up meanwhile, without a word that could arrive."""
        for connection in self._idle:
            connection.abort()
        self._idle = []

    def _has_room(self) -> bool:
        if self._dialing + len(self._open) < self._limit:
            return True
        if self._idle:
            # Not fresh enough for the one who asks: it gives way, and `forget` gives its place to who waits.
            self._idle.pop(0).abort()
        return False

    async def _turn(self) -> Connection | None:
        """Wait in line for a free connection, or for None: the right to dial a new one."""
        turn: asyncio.Future[Connection | None] = self._loop.create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._patience):
                return await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._pass_on(turn.result())
            if isinstance(error, TimeoutError):
                raise ProxyUnavailable(
                    f"All {self._limit} connections to {self._where} are busy.", retry_after=1
                ) from error
            raise

    def _pass_on(self, connection: Connection | None) -> None:
        """Give to the next in line what came too late for this one."""
        if connection is None:
            self._dialing -= 1
            self._grant()
        elif not connection.closed:
            self.put_back(connection)

    def _grant(self) -> None:
        """Let those who wait dial, as far as there is room."""
        while self._waiting and self._dialing + len(self._open) < self._limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self._dialing += 1
                turn.set_result(None)

    async def _dialed(self) -> Connection:
        """A new connection in the place that was reserved for it by counting it as being dialed."""
        try:
            connection = await self._dial()
            if connection.closed:
                raise UpstreamUnreachable(
                    f"{self._where} closed the connection, or spoke before it was asked."
                )
            self._open.add(connection)
        finally:
            self._dialing -= 1
            self._grant()
            self._check_emptied()
        if self._emptied is not None:
            connection.abort()
            raise ProxyUnavailable("The proxy is stopping.")
        return connection

    def _sweep(self) -> None:
        """Close what has been idle for too long, and come back when the next one will be."""
        self._sweeper = None
        now = self._loop.time()
        kept = []
        for connection in self._idle:
            if connection.closed or now - connection.idle_since >= connection.idle_limit:
                connection.abort()
            else:
                kept.append(connection)
        self._idle = kept
        if kept:
            due = min(connection.idle_since + connection.idle_limit for connection in kept)
            self._sweeper = self._loop.call_at(due, self._sweep)

    def _check_emptied(self) -> None:
        if self._emptied is not None and not self._open and not self._dialing and not self._emptied.done():
            self._emptied.set_result(None)


def _leads_there(connection: Connection, age: float) -> bool:
    return age < LOOK_AGAIN or connection.road is None or connection.road.is_open
