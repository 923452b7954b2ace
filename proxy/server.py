"""One server of the configuration at its listener: start, change, drain, stop."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from urllib.parse import quote

from .admin import Metrics, ServerWatch
from .auth import Authenticator, Seams
from .client_limits import require_c_parser
from .config import ServerConfig
from .errors import SignInRequired
from .listening import Door, Listening, OpenDoor
from .model import BaseUrl
from .service import Service
from .sites import Site

logger = logging.getLogger(__name__)


class Proxy:
    """One listener and the service behind it, which may be another one later.

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
        before: Service | None = None,
        open_door: OpenDoor = Listening.open,
        traced: Callable[[Site], Site] | None = None,
    ) -> None:
        require_c_parser()
        self.service = Service(config, seams, own=own, metrics=metrics, before=before, traced=traced)
        self.url = ""
        """The local base URL, once the listener accepts."""
        self._open_door = open_door
        self._door: Door | None = None
        self._resuming: asyncio.Task[None] | None = None
        self._has_own = own is not None
        self._retiring: dict[Service, asyncio.Task[None]] = {}
        self._metrics = metrics
        if metrics is not None:
            metrics.measure(self)

    @property
    def config(self) -> ServerConfig:
        """The settings that hold now."""
        return self.service.config

    @property
    def port(self) -> int:
        """The port of its listener, once that is open."""
        return self._door.port if self._door else 0

    @property
    def watch(self) -> ServerWatch:
        """What is seen of the server's exchanges and sign-ins."""
        return self.service.sign_in.watch

    @property
    def server(self) -> str:
        """The base URL of the server."""
        return str(self.config.base_url)

    @property
    def token_seconds(self) -> float:
        """Seconds until the token in use expires; NaN where that is not known."""
        return self.watch.token_seconds

    @property
    def client_connections(self) -> int:
        """Connections of tools that are open."""
        return self._door.connections if self._door else 0

    @property
    def upstream_connections(self) -> int:
        """Connections to the server that are open."""
        return self._door.upstream_connections if self._door else 0

    @property
    def pause_seconds(self) -> float:
        """Seconds until the server takes requests again."""
        return self._door.pause_seconds if self._door else 0

    @property
    def concurrency_limit(self) -> float:
        """Requests that the server takes at a time; infinite where it asks for no patience."""
        return self._door.concurrency_limit if self._door else math.inf

    async def start(self) -> None:
        """Open the listener; ConfigError names an address that cannot be had."""
        self._door = await self._open_door(self.config.listen, self.service)
        self.url = self.watch.local_url = _local_url(self.config, self.port)
        self._resume()
        self._warn()

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

    def site_of(self, service: Service) -> Site:
        """What the exchanges of another service would share here; ConfigError where it cannot serve here."""
        return service.site(self.port)

    def change(self, service: Service, site: Site) -> None:
        """Serve by another service from the next request on; what runs ends as it began."""
        assert self._door is not None  # noqa: S101  (its site was made for a listener that is open)
        before, self.service = self.service, service
        self._door.switch(service, site)
        self.url = self.watch.local_url = _local_url(self.config, self.port)
        self._retiring[before] = asyncio.create_task(self._retire(before))
        if service.sign_in is not before.sign_in:
            self._resume()
        self._warn()

    async def stop(self, drain_timeout: float, cut: asyncio.Event | None = None) -> None:
        """End with the process, as `leave` does; who asks whether it is ready hears of it."""
        self.watch.is_draining = True
        await self.leave(drain_timeout, cut)

    async def leave(self, drain_timeout: float, cut: asyncio.Event | None = None) -> None:
        """Accept no more; let running exchanges end within `drain_timeout` seconds or until `cut`."""
        if self._resuming is not None:
            self._resuming.cancel()
        # First of all: whoever waits for a sign-in has sent nothing, and would wait for Entra ID in vain.
        await self.service.sign_in.hang_up()
        if self._door is not None:
            await self._door.close(drain_timeout, cut or asyncio.Event())
        for service, retiring in tuple(self._retiring.items()):
            await service.close()
            retiring.cancel()
        await self.service.close()
        if self._metrics is not None:
            self._metrics.forget(self)
            self._metrics = None

    def _resume(self) -> None:
        """Have whoever is kept from an earlier run signed in, beside the requests."""
        if self._has_own:
            return  # It has signed in already, or signs in elsewhere.
        if self._resuming is not None:
            self._resuming.cancel()
        self._resuming = asyncio.create_task(self.watch.resume())

    async def _retire(self, service: Service) -> None:
        await service.retire()
        del self._retiring[service]
        if self._metrics is not None:
            self._metrics.tidy()

    def _warn(self) -> None:
        listen = self.config.listen
        if not listen.is_loopback:
            logger.warning(
                "Other machines reach this proxy at %s, and whoever does%s acts as you on %s.",
                listen,
                " and knows its key" if self.service.key else "",
                self.config.base_url,
            )


def _local_url(config: ServerConfig, port: int) -> str:
    """What a tool calls: the listener's own name with the server's path, which relative links need."""
    if config.listen.path:
        return f"http+unix://{quote(config.listen.path, safe='')}{config.base_url.path}"
    host = config.listen.host
    if not config.listen.is_loopback:
        host = config.allowed_hosts[0].partition(":")[0] if config.allowed_hosts else "localhost"
    local = BaseUrl("http", host, port, config.base_url.path)
    return str(local)
