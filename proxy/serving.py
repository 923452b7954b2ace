"""The process: every server of a configuration and the admin listener, from the start until a stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from .admin import AdminListener, Metrics
from .auth import Seams
from .config import Config
from .errors import ConfigError
from .reload import Reload
from .servers import Servers
from .signals import Stop, signals
from .tcp_listener import bound_sockets

if TYPE_CHECKING:
    from .workers import Workers

logger = logging.getLogger(__name__)


async def serve(
    config: Config,
    *,
    announce: Callable[[str], None],
    seams: Seams,
    stop: Stop | None = None,
    reread: Callable[[], Config] | None = None,
    hangup_reloads: bool = False,
    worker_command: Sequence[str] = (),
) -> None:
    """Run every server of the configuration until asked to stop, by `stop` or by SIGINT or SIGTERM.

    `announce` is told each local base URL when its listener accepts. The first signal lets running exchanges
    end, the second one cuts them. Raises ConfigError where a server cannot be started; then none is.

    The admin listener's reload, and SIGHUP with `hangup_reloads`, take the settings that `reread` gives without
    dropping a request; where they are wrong, all that is wrong is told and the old ones stay.

    With more than one of `workers` in the settings, that many processes serve, each started by `worker_command`.
    """
    stop = stop or Stop()
    metrics = Metrics()
    workers = _hired(config, worker_command, metrics) if config.workers > 1 else None
    admin = AdminListener(metrics, stop.drain.set)
    servers = Servers(config, seams, announce, metrics, admin.page_of, workers.share if workers else None)
    admin.follow(servers.watches)
    reload = Reload(servers, reread, stop, admin.follow) if reread else None
    admin.reload = reload
    if reload is not None and workers is not None:
        reload.spread = workers.follow
    with signals(stop.ask, reload.ask if reload and hangup_reloads else None):
        try:
            await _start_admin(admin, config)  # first, since requests are told its page
            await servers.start()
            if workers is not None:
                await _unless(stop.drain, workers.start(servers))
            servers.announce()
            await stop.drain.wait()
        finally:
            if reload is not None:
                await reload.finish()
            await asyncio.gather(*_stopping(servers, workers, stop.cut))
            await admin.close()


def _hired(config: Config, worker_command: Sequence[str], metrics: Metrics) -> Workers:
    """The workers of the settings, none of them started yet; ConfigError where there can be none."""
    from .workers import Workers, require_workers  # noqa: PLC0415  few have them

    require_workers(config)
    return Workers(config.workers, worker_command, metrics)


async def _unless(stop: asyncio.Event, starting: Coroutine[None, None, None]) -> None:
    """Start something; a stop does not wait for it."""
    tasks = [asyncio.create_task(starting), asyncio.create_task(stop.wait())]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    with suppress(asyncio.CancelledError):
        await tasks[0]


def _stopping(
    servers: Servers, workers: Workers | None, cut: asyncio.Event
) -> Iterator[Coroutine[None, None, None]]:
    """What has to end; the workers first hear of it, since the servers wait for them."""
    if workers is not None:
        yield workers.stop(servers.config.drain_timeout, cut)
    yield servers.stop(cut)


async def _start_admin(admin: AdminListener, config: Config) -> None:
    """Open the admin listener; where nobody asked for it, a second proxy of the machine goes without."""
    if config.admin_listen is None:
        return
    is_taken = any(config.admin_listen.overlaps(server.listen) for server in config.servers)
    if is_taken and not config.wants_admin_listener:
        logger.warning("No admin listener: a server has %s", config.admin_listen)
        return
    try:
        sockets = await bound_sockets(config.admin_listen, "admin_listen")
    except ConfigError as error:
        if config.wants_admin_listener:
            raise
        logger.warning("No admin listener: %s", error.message)
        return
    await admin.start(config.admin_listen, sockets)
    logger.info("Admin listener: %s", admin.url)
