"""The admin listener: open from the start, with its answers loaded when somebody first asks for one.

They bring aiohttp and Prometheus' client, 20 MB and a quarter of a second, and many a proxy is never asked.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, cast

from ..auth.threads import in_thread
from ..config import ListenAddress
from ..model import BaseUrl
from .metrics import Metrics
from .watching import ServerWatch

if TYPE_CHECKING:
    from .application import AdminApplication

MOST_HELD = 64 * 1024
"""Bytes of a connection that are read before there is what reads them: more than any request here has."""

Reload = Callable[[], Awaitable[str]]
"""Take the settings anew: what there is to say about it, or ConfigError with all that is wrong."""

Answering = Callable[[], asyncio.Protocol]
"""Makes the protocol that answers on one connection."""


class AdminListener:
    """Answers for all servers of the process; `stop` is called when somebody asks it to end."""

    def __init__(self, metrics: Metrics, stop: Callable[[], None]) -> None:
        self.watches: Sequence[ServerWatch] = ()
        """What it answers for; set before it starts."""
        self.reload: Reload | None = None
        """What takes settings anew; without it the process has settings that cannot change."""
        self.url = ""
        """Its address once it answers; empty before, and where there is none."""
        self.metrics = metrics
        self.stop = stop
        self._servers: list[asyncio.Server] = []
        self._visits: set[asyncio.Task[None]] = set()
        self._application: AdminApplication | None = None
        self._loading: asyncio.Task[Answering] | None = None

    def page_of(self, server: BaseUrl) -> str:
        """Where a person signs in to a server; empty where nobody can."""
        numbers = (number for number, watch in enumerate(self.watches, 1) if watch.config.base_url == server)
        return f"{self.url}/#server-{next(numbers, 1)}" if self.url else ""

    async def start(self, address: ListenAddress, sockets: Sequence[socket.socket]) -> None:
        """Answer on sockets that are bound to `address`."""
        port = sockets[0].getsockname()[1]
        loop = asyncio.get_running_loop()

        def visitor() -> _Visitor:
            return _Visitor(lambda arrived: self._receive(arrived, address, port))

        for bound in sockets:
            self._servers.append(await loop.create_server(visitor, sock=bound))
        # Whatever it listens on, the page is for this machine.
        name = address.host if address.is_loopback else "localhost"
        self.url = f"http://{ListenAddress(name, port)}"

    def follow(self, watches: Sequence[ServerWatch]) -> None:
        """Tell of other servers from now on."""
        self.watches = watches

    async def close(self) -> None:
        """Answer no more."""
        for server in self._servers:
            server.close()
        for visit in self._visits:
            visit.cancel()
        if self._loading is not None:
            self._loading.cancel()
        if self._application is not None:
            await self._application.close()

    def _receive(self, visitor: _Visitor, address: ListenAddress, port: int) -> None:
        if self._loading is None:
            self._loading = asyncio.create_task(self._load(address, port))
        visit = asyncio.create_task(_hand_over(visitor, self._loading))
        self._visits.add(visit)
        visit.add_done_callback(self._visits.discard)

    async def _load(self, address: ListenAddress, port: int) -> Answering:
        """Load the answers beside the exchanges, which go on meanwhile."""
        try:
            module = await in_thread(lambda: import_module(".application", __package__))
        except OSError:  # no file could be opened just now; the next visitor has it tried again
            self._loading = None
            raise
        self._application = application = cast(
            "AdminApplication", module.AdminApplication(self, address, port)
        )
        return await application.start()


async def _hand_over(visitor: _Visitor, loading: asyncio.Task[Answering]) -> None:
    try:
        answering = await asyncio.shield(loading)
    except BaseException:
        visitor.transport.abort()
        raise
    if not visitor.transport.is_closing():
        visitor.leave_to(answering())


class _Visitor(asyncio.Protocol):
    """A connection until there is what answers on it.

    Reading is not paused from the start: uvloop would read all the same.
    """

    transport: asyncio.Transport

    def __init__(self, receive: Callable[[_Visitor], None]) -> None:
        self._receive = receive
        self._held = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait."""
        # TCP sockets have such a one; uvloop's is no subclass of asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        self._receive(self)

    def data_received(self, data: bytes) -> None:
        """Hold what comes meanwhile."""
        self._held += data
        if len(self._held) > MOST_HELD:
            self.transport.pause_reading()

    def leave_to(self, protocol: asyncio.Protocol) -> None:
        """Let another protocol have the connection, from its first byte on."""
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        self.transport.resume_reading()
        if self._held:
            protocol.data_received(bytes(self._held))
