"""What lives as long as a listener: its sockets and the connections of tools, whatever settings hold behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web

from .client import ClientAnswer, ClientRequest
from .client_connection import ClientConnection
from .client_limits import SurplusConnection
from .config import ListenAddress
from .forwarding import Site, forward
from .service import Running, Service
from .tcp_listener import bound_sockets
from .unix_listener import UnixListener

BACKLOG = 1024
"""Connections that wait to be accepted: a thousand tools may start at once."""

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
        """Accept no more; let running exchanges end within `drain_timeout` seconds or until `cut`."""
        for listener in self._listeners:
            listener.close()
        if self._unix is not None:
            self._unix.remove()
        await self._front.drain(drain_timeout, cut)


class _Front(web.Server):
    """aiohttp's server with our connections; it counts the exchanges that run."""

    def __init__(self, service: Service, site: Site) -> None:
        super().__init__(self._parsed, handler_cancellation=True)
        self.service = service
        self._site = site
        self._open = 0
        self._running = Running()

    def __call__(self) -> asyncio.Protocol:  # type: ignore[override]  # all that create_server asks for
        if self._open >= self._site.limits.connections:
            return SurplusConnection(self._site.limits.connections)
        self._open += 1
        fast = self._site.rules.config.front == "fast"
        return ClientConnection(self, self._site.limits, self._exchange, self._closed, fast=fast)

    def switch(self, service: Service, site: Site) -> None:
        """Serve by another service from the next request on."""
        self.service, self._site = service, site

    def _closed(self) -> None:
        self._open -= 1

    async def drain(self, seconds: float, cut: asyncio.Event) -> None:
        """Close idle connections now, the others with their exchange, after `seconds` or at `cut`."""
        self.pre_shutdown()
        if self._running.count:
            waits = {asyncio.ensure_future(self._running.idle.wait()), asyncio.ensure_future(cut.wait())}
            _, pending = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            for wait in pending:
                wait.cancel()
        await self.shutdown(ABORT_SECONDS)

    async def _parsed(self, request: web.BaseRequest) -> web.StreamResponse:
        return await ClientConnection.of(request).answer(request)

    async def _exchange(self, request: ClientRequest) -> ClientAnswer:
        service, site = self.service, self._site
        self._running.begin()
        service.running.begin()
        try:
            return await forward(request, site)
        finally:
            service.running.end()
            self._running.end()
