"""The connections to one server: how many there may be, and who gets the next one that is free."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from ..errors import ProxyUnavailable, UpstreamUnreachable
from ..stepping import in_task
from .connection import Connection
from .idle import IdleConnections, Line

Dial = Callable[[], Awaitable[Connection]]
"""Open a new connection; raises UpstreamUnreachable, UpstreamTimeout or UpstreamProtocolError."""


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
        self._open: set[Connection] = set()
        self._waiting: Line = deque()
        self.idle = IdleConnections(self._waiting)
        self._dialing = 0
        self._emptied: asyncio.Future[None] | None = None

    @property
    def size(self) -> int:
        """Connections that are open."""
        return len(self._open)

    @property
    def is_cold(self) -> bool:
        """Whether there is no connection, and none that is being opened."""
        return not self._open and not self._dialing

    async def acquire(self, max_idle: float) -> Connection:
        """A connection for one exchange, idle for less than `max_idle` seconds or new.

        Raises ProxyUnavailable where none comes free in time, and what dialing raises.
        """
        await in_task()  # here and below time limits hold
        while True:
            if self._emptied is not None:
                raise ProxyUnavailable("The proxy is stopping.")
            connection = self.idle.take(max_idle)
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

    def forget(self, connection: Connection) -> None:
        """Make room for another connection: this one is gone."""
        self._open.discard(connection)
        self.idle.forget(connection)
        self._grant()
        self._check_emptied()

    async def close(self) -> None:
        """Close all connections, with whatever runs on them, and wait until they are gone."""
        if self._emptied is None:
            self._emptied = self._loop.create_future()
        self.idle.close()
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(ProxyUnavailable("The proxy is stopping."))
        for connection in self._open:
            connection.abort()
        self._check_emptied()
        await asyncio.shield(self._emptied)

    def _has_room(self) -> bool:
        if self._dialing + len(self._open) < self._limit:
            return True
        if self.idle:
            # Not fresh enough for the one who asks: it gives way, and `forget` gives its place to who waits.
            self.idle.give_way()
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
            self.idle.keep(connection)

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

    def _check_emptied(self) -> None:
        if self._emptied is not None and not self._open and not self._dialing and not self._emptied.done():
            self._emptied.set_result(None)
