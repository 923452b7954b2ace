"""Listeners and their life: start, drain, stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from urllib.parse import quote

from aiohttp import web

from .admin import AdminListener, Metrics, ServerWatch
from .auth import Authenticator, Seams, authenticator
from .client import ClientAnswer, ClientRequest
from .client_connection import ClientConnection
from .client_limits import ClientLimits, SurplusConnection, require_c_parser
from .config import Config, ServerConfig
from .errors import ConfigError, SignInRequired
from .forwarding import Site, forward
from .local_key import read_local_key
from .model import BaseUrl, ResponseHead
from .pacing import Pacing
from .rules.exchange import ServerRules
from .rules.guards import Listener
from .tcp_listener import bound_sockets
from .unix_listener import UnixListener
from .upstream import Timeouts, Upstream, tls_context, tunnel_for

logger = logging.getLogger(__name__)

BACKLOG = 1024
"""Connections that wait to be accepted: a thousand tools may start at once."""

ABORT_SECONDS = 0.1
"""How long exchanges that outlived the drain get to notice that they are cut."""


class Proxy:
    """One server of the configuration: its listener, its rules, its credentials, its connections.

    Creating one opens nothing; it raises ConfigError where the settings cannot work. `own` is an
    Authenticator that has signed in already; it is closed with the proxy.
    """

    def __init__(
        self,
        config: ServerConfig,
        seams: Seams,
        *,
        own: Authenticator | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        require_c_parser()
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
        self._pacing = Pacing(seams.clock, config.retry_wait if config.retry == "on" else None)
        self._limits = ClientLimits(
            head=config.head_timeout,
            upload=config.upload_timeout,
            send=config.send_timeout,
            connections=config.max_connections,
        )
        self.watch = ServerWatch(
            config,
            own or authenticator(config, replace(seams, probe=self._probe)),
            self._probe,
            seams.clock,
            attended=seams.attended,
            metrics=metrics,
        )
        if metrics is not None:
            metrics.measure(
                str(base),
                token_seconds=lambda: self.watch.token_seconds,
                client_connections=lambda: len(self._front.connections) if self._front else 0,
                upstream_connections=lambda: self._upstream.open_connections,
            )
        self._key = read_local_key(config)
        self._unix: UnixListener | None = None
        self._listeners: list[asyncio.Server] = []
        self._front: _Front | None = None

    async def start(self) -> None:
        """Open the listener; ConfigError names an address that cannot be had."""
        listen = self.config.listen
        if listen.path:
            self._unix = UnixListener(listen.path)
            sockets, port = [self._unix.socket], listen.port
        else:
            sockets = await bound_sockets(listen)
            port = sockets[0].getsockname()[1]
        listener = Listener.of(listen.host, port, self.config.allowed_hosts, key=self._key)
        rules = ServerRules(self.config, listener)
        self._front = _Front(Site(rules, self.watch, self._upstream, self._pacing, self._limits, self.watch))
        loop = asyncio.get_running_loop()
        for bound in sockets:
            create = loop.create_unix_server if listen.path else loop.create_server
            self._listeners.append(await create(self._front, sock=bound, backlog=BACKLOG))
        self.url = self.watch.local_url = _local_url(self.config, port)
        if not listen.is_loopback:
            logger.warning(
                "Other machines reach this proxy at %s, and whoever does%s acts as you on %s.",
                listen,
                " and knows its key" if self._key else "",
                self.config.base_url,
            )

    async def sign_in(self) -> None:
        """Have credentials, however long a person takes for them; raises what says why there are none."""
        while True:
            try:
                await self.watch.credentials()
            except SignInRequired as error:
                if error.retry_after is None:
                    raise
            else:
                return

    async def stop(self, drain_timeout: float, cut: asyncio.Event | None = None) -> None:
        """Accept no more; let running exchanges end within `drain_timeout` seconds or until `cut`."""
        self.watch.is_draining = True
        for listener in self._listeners:
            listener.close()
        if self._unix is not None:
            self._unix.remove()
        if self._front is not None:
            await self._front.drain(drain_timeout, cut or asyncio.Event())
        await self.watch.close()
        await self._upstream.close()

    async def _probe(self) -> ResponseHead:
        answer = await self._upstream.send(ServerRules.probe(self.config))
        await answer.close()
        return answer.head


class _Front(web.Server):
    """aiohttp's server with our connections; it counts the exchanges that run."""

    def __init__(self, site: Site) -> None:
        super().__init__(self._parsed, handler_cancellation=True)
        self._site = site
        self._open = 0
        self._running = 0
        self._idle = asyncio.Event()

    def __call__(self) -> asyncio.Protocol:  # type: ignore[override]  # all that create_server asks for
        if self._open >= self._site.limits.connections:
            return SurplusConnection(self._site.limits.connections)
        self._open += 1
        fast = self._site.rules.config.front == "fast"
        return ClientConnection(self, self._site.limits, self._exchange, self._closed, fast=fast)

    def _closed(self) -> None:
        self._open -= 1

    async def drain(self, seconds: float, cut: asyncio.Event) -> None:
        """Close idle connections now, the others with their exchange, after `seconds` or at `cut`."""
        self.pre_shutdown()
        if self._running:
            self._idle.clear()
            waits = {asyncio.ensure_future(self._idle.wait()), asyncio.ensure_future(cut.wait())}
            _, pending = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            for wait in pending:
                wait.cancel()
        await self.shutdown(ABORT_SECONDS)

    async def _parsed(self, request: web.BaseRequest) -> web.StreamResponse:
        return await ClientConnection.of(request).answer(request)

    async def _exchange(self, request: ClientRequest) -> ClientAnswer:
        self._running += 1
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
    metrics = Metrics()
    proxies = [Proxy(server, seams, metrics=metrics) for server in config.servers]
    admin = AdminListener([proxy.watch for proxy in proxies], metrics, stop.drain.set)
    with signals(stop.ask):
        try:
            for proxy in proxies:
                await proxy.start()
            await _start_admin(admin, config)
            for proxy in proxies:
                announce(proxy.url)
            await stop.drain.wait()
        finally:
            await asyncio.gather(*(proxy.stop(config.drain_timeout, stop.cut) for proxy in proxies))
            await admin.close()


async def _start_admin(admin: AdminListener, config: Config) -> None:
    """Open the admin listener; where nobody asked for it, a second proxy of the machine goes without."""
    if config.admin_listen is None:
        return
    try:
        sockets = await bound_sockets(config.admin_listen, "admin_listen")
    except ConfigError as error:
        if "admin_listen" in config.model_fields_set:
            raise
        logger.warning("No admin listener: %s", error.message)
        return
    logger.info("Admin listener: %s", await admin.start(config.admin_listen, sockets))


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


def _local_url(config: ServerConfig, port: int) -> str:
    """What a tool calls: the listener's own name with the server's path, which relative links need."""
    if config.listen.path:
        return f"http+unix://{quote(config.listen.path, safe='')}{config.base_url.path}"
    host = config.listen.host
    if not config.listen.is_loopback:
        host = config.allowed_hosts[0].partition(":")[0] if config.allowed_hosts else "localhost"
    local = BaseUrl("http", host, port, config.base_url.path)
    return str(local)
