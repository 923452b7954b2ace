"""All servers of a process: started together, changed together, stopped together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from .admin import Metrics, ServerWatch
from .auth import Authenticator, Seams
from .config import Config, ServerConfig
from .errors import ConfigError
from .listening import Listening, OpenDoor
from .model import BaseUrl
from .open_files import within_limits
from .server import Proxy
from .service import Service, gathered, sign_in_key
from .sites import Site
from .tracing import Tracing, tracing


@dataclass(frozen=True, slots=True)
class Share:
    """What a server gets from elsewhere where several processes serve together."""

    metrics: Metrics | None = None
    """Those of this process where there are no others."""
    own: Authenticator | None = None
    open_door: OpenDoor = Listening.open


class Servers:
    """The proxies of a configuration; ConfigError tells all that cannot work, whichever server it is about.

    `share` says what each of them has in common with other processes; without it nothing is.
    """

    def __init__(
        self,
        config: Config,
        seams: Seams,
        announce: Callable[[str], None],
        metrics: Metrics,
        page_of: Callable[[BaseUrl], str],
        share: Callable[[ServerConfig], Share] | None = None,
    ) -> None:
        self.config = config = within_limits(config)
        self._share = share or (lambda _: Share())
        self.proxies: list[Proxy] = []
        self._metrics = metrics
        self._seams = seams
        self._page_of = page_of
        self._announce = announce
        self._leaving: set[asyncio.Task[None]] = set()
        self._tracing: Tracing | None = None
        problems: list[ConfigError] = []
        with gathered(problems):
            self._tracing = tracing(config)
        self._traced = self._tracing.traced if self._tracing else None
        for server in config.servers:
            with gathered(problems):
                self.proxies.append(self._proxy(server))
        if problems:
            raise ConfigError.joined(problems)

    @property
    def watches(self) -> list[ServerWatch]:
        """What is seen of each server."""
        return [proxy.watch for proxy in self.proxies]

    async def start(self) -> None:
        """Open every listener."""
        if self._tracing is not None:
            self._tracing.start()
        for proxy in self.proxies:
            await proxy.start()

    def announce(self) -> None:
        """Tell every local base URL."""
        for proxy in self.proxies:
            self._announce(proxy.url)

    async def change(self, config: Config, cut: asyncio.Event) -> None:
        """Serve by another configuration from the next request on; ConfigError where nothing has changed.

        A listener whose address stays is kept with its connections. Others are opened first, and those that are
        no longer named end as at a stop, by the drain_timeout of the new settings or at `cut`.
        """
        config = within_limits(config)
        proxies: list[Proxy] = []
        switches: list[tuple[Proxy, Service]] = []
        fresh: list[Proxy] = []
        sites: list[Site] = []
        problems: list[ConfigError] = []
        left, signed_in = list(self.proxies), list(self.proxies)
        for server in config.servers:
            before = _taken(signed_in, *_alike(server, self._share(server).own))
            place = _taken(left, *_places(server))
            with gathered(problems):
                if place is None:
                    self._refuse_own_port(server)
                    fresh.append(self._proxy(server, before.service if before else None))
                else:
                    service = self._service(server, (before or place).service)
                    switches.append((place, service))
                    sites.append(place.site_of(service))
                proxies.append(place or fresh[-1])
        if not problems:
            for proxy in fresh:
                with gathered(problems):
                    await proxy.start()
        if problems:
            await self._undo(fresh, [service for _, service in switches])
            raise ConfigError.joined(problems)
        for (proxy, service), site in zip(switches, sites, strict=True):
            proxy.change(service, site)
        self.config, self.proxies = config, proxies
        for proxy in left:
            self._leave(proxy, cut)
        for proxy in fresh:
            self._announce(proxy.url)

    async def stop(self, cut: asyncio.Event) -> None:
        """Stop every server, and wait for those that are leaving; then deliver the last traces in what time is left."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.config.drain_timeout
        stopping = [proxy.stop(self.config.drain_timeout, cut) for proxy in self.proxies]
        await asyncio.gather(*stopping, *self._leaving)
        if self._tracing is not None:
            await self._tracing.stop(until - loop.time(), cut)

    def _proxy(self, server: ServerConfig, before: Service | None = None) -> Proxy:
        share = self._share(server)
        return Proxy(
            server,
            self._seams_of(server),
            own=share.own,
            metrics=share.metrics or self._metrics,
            before=before,
            open_door=share.open_door,
            traced=self._traced,
        )

    def _service(self, server: ServerConfig, before: Service) -> Service:
        share = self._share(server)
        return Service(
            server,
            self._seams_of(server),
            own=share.own,
            metrics=share.metrics or self._metrics,
            before=before,
            traced=self._traced,
        )

    def _seams_of(self, server: ServerConfig) -> Seams:
        return replace(self._seams, page=partial(self._page_of, server.base_url))

    def _refuse_own_port(self, server: ServerConfig) -> None:
        """ConfigError for a port that a listener has until this change, which would have to close before it."""
        own = next((proxy for proxy in self.proxies if proxy.config.listen.overlaps(server.listen)), None)
        if own is not None:
            raise ConfigError(
                f"listen = {server.listen}: port {server.listen.port} is this proxy's own, at {own.config.listen}.",
                hint="Stop the proxy and start it again, or take another port.",
            )

    async def _undo(self, fresh: list[Proxy], services: list[Service]) -> None:
        for proxy in fresh:
            await proxy.leave(0)
        for service in services:
            await service.close()
        for proxy in self.proxies:
            proxy.watch.local_url = proxy.url

    def _leave(self, proxy: Proxy, cut: asyncio.Event) -> None:
        leaving = asyncio.create_task(proxy.leave(self.config.drain_timeout, cut))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)


def _taken(proxies: list[Proxy], *fits: Callable[[Proxy], bool]) -> Proxy | None:
    """The proxy that fits best, taken out of the list, so that no other gets it."""
    for fit in fits:
        for proxy in proxies:
            if fit(proxy):
                proxies.remove(proxy)
                return proxy
    return None


def _places(server: ServerConfig) -> tuple[Callable[[Proxy], bool], ...]:
    """What tells the listener that a server keeps: its address; where any free port does, the server as well."""

    def same(proxy: Proxy) -> bool:
        return proxy.config.listen == server.listen and proxy.config.base_url == server.base_url

    def address(proxy: Proxy) -> bool:
        return proxy.config.listen == server.listen and server.listen.port != 0

    return same, address


def _alike(server: ServerConfig, own: Authenticator | None) -> tuple[Callable[[Proxy], bool], ...]:
    """What tells the sign-in that a server keeps: all that it depends on, best at the same listener."""
    key = sign_in_key(server, own)

    def alike(proxy: Proxy) -> bool:
        return proxy.service.sign_in.key == key

    def same(proxy: Proxy) -> bool:
        return alike(proxy) and proxy.config.listen == server.listen

    return same, alike
