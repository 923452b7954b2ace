"""Settings taken anew while requests come: refused as a whole, or taken as a whole."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from .admin import ServerWatch
from .config import Config
from .errors import ConfigError, ProxyError, ProxyUnavailable
from .servers import Servers
from .signals import Stop

logger = logging.getLogger(__name__)

FROM_THE_START = ("admin_listen", "log_level", "log_format", "traces")
"""Settings of the process that a reload leaves as they were when it started."""


class Reload:
    """Has the settings read again and taken, one at a time; what comes of it is logged."""

    def __init__(
        self,
        servers: Servers,
        reread: Callable[[], Config],
        stop: Stop,
        follow: Callable[[Sequence[ServerWatch]], None],
    ) -> None:
        self._servers = servers
        self._reread = reread
        self._stop = stop
        self._follow = follow  # told what there is to see of the servers that serve now
        self._one = asyncio.Lock()
        self._asked: set[asyncio.Task[None]] = set()

    async def __call__(self) -> str:
        """Take the settings; what there is to say about it. ConfigError tells all that is wrong with them."""
        async with self._one:
            if self._stop.drain.is_set():
                raise ProxyUnavailable("The proxy is stopping.")
            try:
                config = self._reread()
                told = _told(self._servers.config, config)
                await self._servers.change(config, self._stop.cut)
            except ConfigError as error:
                for line in f"{error.message} {error.hint}".strip().splitlines():
                    logger.error("The settings stay as they were: %s", line)  # noqa: TRY400  (no traceback)
                raise
            self._follow(self._servers.watches)
        logger.info("%s", told)
        return told

    def ask(self) -> None:
        """Have it done soon."""
        asked = asyncio.create_task(self._quietly())
        self._asked.add(asked)
        asked.add_done_callback(self._asked.discard)

    async def finish(self) -> None:
        """Wait until none is under way; after a stop was asked for none begins."""
        await asyncio.gather(*self._asked)
        async with self._one:
            return

    async def _quietly(self) -> None:
        with suppress(ProxyError):  # It is in the log, and nobody waits for an answer.
            await self()


def _told(before: Config, after: Config) -> str:
    late = [key for key in FROM_THE_START if getattr(before, key) != getattr(after, key)]
    return "The settings were read again." + "".join(f" {key} holds from the next start." for key in late)
