"""The ports of a proxy with workers: held by the supervisor, which accepts nothing there."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Awaitable, Callable, Sequence

from ..config import ListenAddress
from ..service import Service
from ..sites import Site
from ..tcp_listener import bound_sockets, let_join
from .wire import Level


class Held:
    """The door of a server whose requests come in at workers, with what they last told of it."""

    def __init__(
        self, listen: ListenAddress, sockets: Sequence[socket.socket], end: Callable[[Held], Awaitable[None]]
    ) -> None:
        self.listen = listen
        """Where the workers listen: its port is never 0."""
        self.levels: Sequence[Level] = ()
        """One for each worker."""
        self._sockets = sockets
        self._end = end

    @classmethod
    async def open(cls, address: ListenAddress, end: Callable[[Held], Awaitable[None]]) -> Held:
        """Have the port for workers of this user; `end` returns when they need it no more."""
        sockets = await bound_sockets(address)
        for bound in sockets:
            let_join(bound)
        return cls(ListenAddress(address.host, sockets[0].getsockname()[1]), sockets, end)

    @property
    def port(self) -> int:
        """The port that it has."""
        return self.listen.port

    @property
    def connections(self) -> int:
        """Connections of tools that are open."""
        return sum(level.connections for level in self.levels)

    @property
    def upstream_connections(self) -> int:
        """Connections to the server that are open."""
        return sum(level.upstream_connections for level in self.levels)

    @property
    def pause_seconds(self) -> float:
        """Seconds until the server takes requests of every worker again."""
        return max((level.pause_seconds for level in self.levels), default=0)

    @property
    def concurrency_limit(self) -> float:
        """Requests that the server takes at a time; infinite where one worker knows of no limit."""
        return sum(level.concurrency_limit for level in self.levels) if self.levels else math.inf

    def switch(self, service: Service, site: Site) -> None:
        """Nothing changes here: the workers get the settings as a whole."""

    async def close(self, drain_timeout: float, cut: asyncio.Event) -> None:  # noqa: ARG002  (the workers')
        """Let go of the port."""
        await self._end(self)
        for bound in self._sockets:
            bound.close()
