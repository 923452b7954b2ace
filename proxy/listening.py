"""What lives as long as a listener: its sockets and the connections of tools, whatever settings hold behind it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from .auth.threads import in_thread
from .client_connection import ClientConnection
from .client_exchanges import shut_down, walk
from .client_limits import say_farewell
from .config import ListenAddress
from .errors import ConfigError, ProxyUnavailable
from .passage import Passage
from .service import Service
from .sites import Site
from .stepping import Run
from .tcp_listener import bound_sockets
from .unix_listener import UnixListener
from .upstream.probing import input_of

if TYPE_CHECKING:
    from .client_aiohttp import AiohttpServer

logger = logging.getLogger(__name__)

BACKLOG = 1024
"""Connections that wait to be accepted: a thousand tools may start at once."""

ACCEPT_SECONDS = 0.5
"""How long connections that wait to be accepted are taken when the listener is to close; a flood has no end."""

TURNS = 5
"""Turns of the event loop in which what has been accepted becomes a connection, or what has been read an exchange.

asyncio and aiohttp need three for either."""

GRACE_SECONDS = 1.0
"""How long a connection without a request stays open at the end: one may be on its way through a network, and a
tool that is at work asks again within it and is told that this answer is the last."""

ABORT_SECONDS = 0.1
"""How long exchanges that outlived the drain get to notice that they are cut."""


class Door(Protocol):
    """Where the requests of tools come in, in this process or in others."""

    @property
    def port(self) -> int:
        """The port that it has; 0 for a unix socket."""

    @property
    def connections(self) -> int:
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

    def switch(self, service: Service, site: Site) -> None:
        """Serve by another service from the next request on, on connections that are open too."""

    async def close(self, drain_timeout: float, cut: asyncio.Event) -> None:
        """Accept no more; let running exchanges end within `drain_timeout` seconds or until `cut`."""


OpenDoor = Callable[[ListenAddress, Service], Awaitable[Door]]
"""Opens the door of an address for a service; ConfigError names an address that cannot be had."""


class Listening:
    """A door of this process: each request gets the rules that hold when it comes, and keeps them to its end."""

    def __init__(self, port: int, front: _Front, unix: UnixListener | None) -> None:
        self.port = port
        self._front = front
        self._unix = unix
        self._listeners: list[asyncio.Server] = []

    @classmethod
    async def open(cls, address: ListenAddress, service: Service, *, joining: bool = False) -> Listening:
        """Accept for a service; ConfigError names an address that cannot be had.

        `joining` shares the port with other processes of this user, as `tcp_listener.let_join` allows.
        """
        loop = asyncio.get_running_loop()
        if address.path:
            unix = UnixListener(address.path)
            listening = cls(address.port, _Front(service, service.site(address.port)), unix)
            server = await loop.create_unix_server(listening._front, sock=unix.socket, backlog=BACKLOG)
            listening._listeners.append(server)
            return listening
        sockets = await bound_sockets(address, joining=joining)
        port = sockets[0].getsockname()[1]
        listening = cls(port, _Front(service, service.site(port)), None)
        for bound in sockets:
            server = await loop.create_server(listening._front, sock=bound, backlog=BACKLOG)
            listening._listeners.append(server)
        return listening

    @property
    def connections(self) -> int:
        """Connections of tools that are open."""
        return len(self._front.connections)

    @property
    def upstream_connections(self) -> int:
        """Connections to the server that are open."""
        return self._front.service.upstream.open_connections

    @property
    def pause_seconds(self) -> float:
        """Seconds until the server takes requests again."""
        return self._front.service.pacing.pause_seconds

    @property
    def concurrency_limit(self) -> float:
        """Requests that the server takes at a time; infinite where it asks for no patience."""
        return self._front.service.pacing.concurrency_limit

    def switch(self, service: Service, site: Site) -> None:
        """Serve by another service from the next request on, on connections that are open too."""
        self._front.switch(service, site)

    async def close(self, drain_timeout: float, cut: asyncio.Event) -> None:
        """Accept no more; let what tools have sent, or are sending, be answered within `drain_timeout` seconds.

        Nothing that has reached this machine by now is lost, unless `cut` comes.
        """
        await self._take_waiting()
        for listener in self._listeners:
            listener.close()
        if self._unix is not None:
            self._unix.remove()
        await self._front.drain(drain_timeout, cut)

    async def _take_waiting(self) -> None:
        """Accept the connections that wait for it: the system resets them when their listener closes."""
        loop = asyncio.get_running_loop()
        until = loop.time() + ACCEPT_SECONDS
        waiting = [input_of(bound.fileno()) for listener in self._listeners for bound in listener.sockets]
        while any(has_input() for has_input in waiting) and loop.time() < until:
            await _some_turns()
        await _some_turns()


class _SurplusConnection(asyncio.Protocol):
    """A connection beyond the limit: told so without being read, and closed."""

    def __init__(self, connections: int) -> None:
        self._error = ProxyUnavailable(
            f"All {connections} connections of this proxy are in use.",
            hint="Close connections that are idle, or raise max_connections.",
            retry_after=1,
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say no."""
        # TCP and unix sockets have such a one; uvloop's is no subclass of asyncio's.
        say_farewell(cast(asyncio.Transport, transport), self._error)


class _LateConnection(asyncio.Protocol):
    """A connection that the event loop accepted before the listener closed, and hands over after its end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Cut it: nobody would any more."""
        cast(asyncio.Transport, transport).abort()


class _Front:
    """The connections of a listener, which it makes and counts."""

    def __init__(self, service: Service, site: Site) -> None:
        self.service = service
        self.connections: set[ClientConnection] = set()
        self.site = site
        self._aiohttp: AiohttpServer | None = None
        self._loading: asyncio.Task[None] | None = None
        self._unparsed: list[ClientConnection] = []
        self._is_empty = asyncio.Event()
        self._is_empty.set()
        self._is_over = False

    def __call__(self) -> asyncio.Protocol:
        """A new connection."""
        site = self.site
        if self._is_over:
            return _LateConnection()
        if len(self.connections) >= site.limits.connections:
            return _SurplusConnection(site.limits.connections)
        self._is_empty.clear()
        connection = ClientConnection(site.limits, self, fast=site.rules.config.front == "fast")
        self.connections.add(connection)
        # A class with a base from elsewhere is not compiled; the event loop needs none.
        return cast(asyncio.Protocol, connection)

    def switch(self, service: Service, site: Site) -> None:
        """Serve by another service from the next request on."""
        self.service, self.site = service, site

    def walk(self, connection: ClientConnection, passage: Passage) -> Run:
        """What carries on an exchange where it has to wait."""
        return walk(connection, passage)

    def want_parser(self, connection: ClientConnection) -> None:
        """Have a connection parsed by aiohttp, which is loaded beside the exchanges when it is first needed."""
        if self._aiohttp is not None:
            connection.parse_by(self._aiohttp)
            return
        self._unparsed.append(connection)
        if self._loading is None:
            self._loading = asyncio.create_task(self._load())

    async def _load(self) -> None:
        try:
            module = await in_thread(lambda: import_module(".client_aiohttp", __package__))
            self._aiohttp = cast("AiohttpServer", module.AiohttpServer())
        except (ImportError, OSError, ConfigError) as error:  # no file could be opened just now, say
            logger.error("aiohttp could not be loaded: %s", type(error).__name__)  # noqa: TRY400  (which may quote paths)
        finally:
            self._loading = None
            unparsed, self._unparsed = self._unparsed, []
        for connection in unparsed:
            if self._aiohttp is not None:
                connection.parse_by(self._aiohttp)
            else:
                connection.abort()

    def closed(self, connection: ClientConnection) -> None:
        """Take note that a connection is gone."""
        self.connections.discard(connection)
        if not self.connections:
            self._is_empty.set()

    async def drain(self, seconds: float, cut: asyncio.Event) -> None:
        """Let each connection end with its next answer, or after a grace without one.

        After `seconds`, or at `cut`, whatever is left is cut.
        """
        if self._loading is not None:
            await asyncio.wait({self._loading})
        for connection in self.connections:
            connection.take_no_more()
        waits = {asyncio.ensure_future(self._is_empty.wait()), asyncio.ensure_future(cut.wait())}
        grace = min(GRACE_SECONDS, seconds)
        done, _ = await asyncio.wait(waits, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        # A request that has just come still becomes an exchange; where none has, there will be none.
        for connection in self.connections:
            connection.close()
        await _some_turns()
        for connection in self.connections:
            connection.hang_up()
        if not done:
            await asyncio.wait(waits, timeout=seconds - grace, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        self._is_over = True
        await asyncio.gather(*(shut_down(connection, ABORT_SECONDS) for connection in self.connections))


async def _some_turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)
