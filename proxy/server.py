"""Listeners and their life: start, drain, stop."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from aiohttp import web

from .auth import Seams, authenticator
from .client import ClientConnection
from .config import Config, ListenAddress, ServerConfig
from .errors import ConfigError
from .forwarding import Site, forward
from .model import BaseUrl, ResponseHead
from .rules.exchange import ServerRules
from .rules.guards import Listener
from .upstream import Timeouts, Upstream, tls_context, tunnel_for

logger = logging.getLogger(__name__)

LOOPBACK_ADDRESSES = ("127.0.0.1", "::1")
"""What `localhost` stands for (RFC 6761 section 6.3).

Both are bound: a tool may try either first, and nobody else shall sit on the other one.
"""

FREE_PORT_TRIES = 16
"""A port that is free on the first address can be taken on the second; then another one is tried."""

BACKLOG = 1024
"""Connections that wait to be accepted: a thousand tools may start at once."""

ABORT_SECONDS = 0.1
"""How long exchanges that outlived the drain get to notice that they are cut."""


class Proxy:
    """One server of the configuration: its listener, its rules, its credentials, its connections.

    Creating one opens nothing; it raises ConfigError where the settings cannot work.
    """

    def __init__(self, config: ServerConfig, seams: Seams) -> None:
        base = config.base_url
        self.config = config
        self.url = ""
        """The local base URL, once the listener accepts."""
        self._upstream = Upstream(
            base,
            tls=tls_context(config.ca_bundle) if base.scheme == "https" else None,
            tunnel=tunnel_for(base, os.environ),
            timeouts=Timeouts(connect=config.connect_timeout, read=config.read_timeout),
        )
        self._authenticator = authenticator(config, replace(seams, probe=self._probe))
        self._listeners: list[asyncio.Server] = []
        self._front: _Front | None = None

    async def start(self) -> None:
        """Open the listener; ConfigError names an address that cannot be had."""
        sockets = await _bound_sockets(self.config.listen)
        port = sockets[0].getsockname()[1]
        listener = Listener.of(self.config.listen.host, port, self.config.allowed_hosts)
        rules = ServerRules(self.config, listener)
        self._front = _Front(Site(rules, self._authenticator, self._upstream))
        loop = asyncio.get_running_loop()
        for bound in sockets:
            self._listeners.append(await loop.create_server(self._front, sock=bound, backlog=BACKLOG))
        self.url = _local_url(self.config, port)

    async def sign_in(self) -> None:
        """Obtain credentials now, without opening the listener."""
        await self._authenticator.credentials()

    async def stop(self, drain_timeout: float, cut: asyncio.Event | None = None) -> None:
        """Accept no more; let running exchanges end within `drain_timeout` seconds or until `cut`."""
        for listener in self._listeners:
            listener.close()
        if self._front is not None:
            await self._front.drain(drain_timeout, cut or asyncio.Event())
        await self._authenticator.close()
        await self._upstream.close()

    async def _probe(self) -> ResponseHead:
        answer = await self._upstream.send(ServerRules.probe(self.config))
        await answer.close()
        return answer.head


class _Front(web.Server):
    """aiohttp's server with our connections; it counts the exchanges that run."""

    def __init__(self, site: Site) -> None:
        super().__init__(self._forward, handler_cancellation=True)
        self._site = site
        self._running = 0
        self._idle = asyncio.Event()

    def __call__(self) -> ClientConnection:
        return ClientConnection(self)

    async def drain(self, seconds: float, cut: asyncio.Event) -> None:
        """Close idle connections now, the others with their exchange, after `seconds` or at `cut`."""
        self.pre_shutdown()
        if self._running:
            waits = {asyncio.ensure_future(self._idle.wait()), asyncio.ensure_future(cut.wait())}
            _, pending = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            for wait in pending:
                wait.cancel()
        await self.shutdown(ABORT_SECONDS)

    async def _forward(self, request: web.BaseRequest) -> web.StreamResponse:
        self._running += 1
        self._idle.clear()
        try:
            return await forward(request, self._site)
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()


class Stop:
    """When to stop: `drain` once asked to, `cut` when asked again."""

    def __init__(self) -> None:
        self.drain = asyncio.Event()
        self.cut = asyncio.Event()

    def ask(self) -> None:
        """Ask once more."""
        (self.cut if self.drain.is_set() else self.drain).set()


async def serve(
    config: Config, *, announce: Callable[[str], None], seams: Seams, stop: Stop | None = None
) -> None:
    """Run every server of the configuration until asked to stop, by `stop` or by SIGINT or SIGTERM.

    `announce` is told each local base URL when its listener accepts. The first signal lets running exchanges
    end, the second one cuts them. Raises ConfigError where a server cannot be started; then none is.
    """
    stop = stop or Stop()
    proxies = [Proxy(server, seams) for server in config.servers]
    with signals(stop.ask):
        try:
            for proxy in proxies:
                await proxy.start()
            for proxy in proxies:
                announce(proxy.url)
            await stop.drain.wait()
        finally:
            await asyncio.gather(*(proxy.stop(config.drain_timeout, stop.cut) for proxy in proxies))


@contextmanager
def signals(ask: Callable[[], None]) -> Iterator[None]:
    """Ask at SIGINT and SIGTERM, on event loops without signal handlers (Windows) too."""
    loop = asyncio.get_running_loop()
    names = (signal.SIGINT, signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread():
        yield  # Python hands signals to the main thread alone; whoever runs this elsewhere has a `stop`.
        return
    before = {name: signal.getsignal(name) for name in names}
    for name in names:
        try:
            loop.add_signal_handler(name, ask)
        except NotImplementedError:
            signal.signal(name, lambda *_: loop.call_soon_threadsafe(ask))
    try:
        yield
    finally:
        for name in names:
            with suppress(NotImplementedError):
                loop.remove_signal_handler(name)
            signal.signal(name, before[name])


async def _bound_sockets(address: ListenAddress) -> list[socket.socket]:
    """Sockets for every address that the name stands for, all on one port."""
    hosts: Sequence[str] = LOOPBACK_ADDRESSES
    if address.host != "localhost":
        try:
            found = await asyncio.get_running_loop().getaddrinfo(address.host, None, type=socket.SOCK_STREAM)
        except OSError as exc:
            raise ConfigError(
                f"listen = {address}: this machine has no address named {address.host!r}.",
                hint="Listen on localhost, or on an address of this machine.",
            ) from exc
        hosts = tuple(dict.fromkeys(str(row[4][0]) for row in found))
    for tries_left in reversed(range(FREE_PORT_TRIES)):
        sockets: list[socket.socket] = []
        port = address.port
        try:
            for host in hosts:
                bound = _bound(host, port)
                if bound is not None:
                    sockets.append(bound)
                    port = bound.getsockname()[1]
        except OSError as exc:
            for bound in sockets:
                bound.close()
            if address.port == 0 and sockets and tries_left:
                continue
            raise _cannot_listen(address, exc) from exc
        if sockets:
            return sockets
    raise _cannot_listen(address, OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL)))


def _bound(host: str, port: int) -> socket.socket | None:
    """A socket on that address and port; None where the machine has no IPv6."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound: socket.socket | None = None
    try:
        bound = socket.socket(family, socket.SOCK_STREAM)
        # A port that someone else listens on must never be shared: Windows' SO_REUSEADDR would do that.
        if sys.platform == "win32":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((host, port))
    except OSError as exc:
        if bound is not None:
            bound.close()
        if family == socket.AF_INET6 and exc.errno in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
            return None
        raise
    return bound


def _cannot_listen(address: ListenAddress, error: OSError) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return ConfigError(
            f"listen = {address}: port {address.port} is taken by another program.",
            hint=f"Stop that program, or take another port: --listen {address.host}:0 finds a free one.",
        )
    return ConfigError(
        f"listen = {address}: this address cannot be had ({error.strerror or type(error).__name__}).",
        hint="Listen on localhost, on a port from 1024 up.",
    )


def _local_url(config: ServerConfig, port: int) -> str:
    """What a tool calls: the listener's own name with the server's path, which relative links need."""
    host = config.listen.host
    if not config.listen.is_loopback:
        host = config.allowed_hosts[0].partition(":")[0] if config.allowed_hosts else "localhost"
    local = BaseUrl("http", host, port, config.base_url.path)
    return str(local)
