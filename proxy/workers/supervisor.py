"""All workers of a proxy: started together, replaced when one ends, changed and stopped together."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Sequence
from itertools import count
from weakref import WeakKeyDictionary

from ..admin import Metrics
from ..config import Config, ListenAddress, ServerConfig
from ..errors import ConfigError, ProxyError, ProxyUnavailable
from ..servers import Servers, Share
from ..service import Service, SignIn
from .hiring import Hired
from .holding import Held
from .wire import LevelsAnswer, Settings

logger = logging.getLogger(__name__)

STEADY_SECONDS = 10.0
"""A worker that lived longer is replaced at once: what ended it did not lie in its start."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Seconds before another worker takes the place of one that did not live long; each time twice as many."""

LEVELS_SECONDS = 1.0
"""How long workers get to tell what is open; one that does not is shown as it was."""

CUT_SECONDS = 5.0
"""How long after a cut workers that have not ended are ended."""

OVERTIME_SECONDS = 10.0
"""How long after drain_timeout workers that have not ended are ended."""


def require_workers(config: Config) -> None:
    """Refuse settings whose servers cannot be served by several processes here."""
    reasons = []
    if not hasattr(socket, "SO_REUSEPORT"):
        reasons.append("this system has no SO_REUSEPORT, by which processes accept on one port")
    elif sys.platform != "linux":
        # macOS and the BSDs know the option, and give every connection to the process that came last.
        reasons.append(
            "this system's SO_REUSEPORT does not spread connections among processes, as Linux' does"
        )
    reasons += [
        f"listen = {server.listen} is a unix socket, which one process has alone"
        for server in config.servers
        if server.listen.path
    ]
    if reasons:
        raise ConfigError(
            f"workers = {config.workers} cannot be: {'; '.join(reasons)}.",
            hint="Leave workers out: one process serves a thousand tools as well.",
        )


def next_pause(former: float, lived: float) -> float:
    """Seconds to wait for another worker after one that lived so many, and had itself been waited for."""
    return 0.0 if lived > STEADY_SECONDS else min(max(FIRST_PAUSE, 2 * former), LONGEST_PAUSE)


class Workers:
    """The processes that serve the settings of Servers, which themselves only hold ports and sign-ins.

    `command` starts one; the number of an open file is added to it.
    """

    def __init__(self, number: int, command: Sequence[str], metrics: Metrics) -> None:
        self._command = command
        self._metrics = metrics
        metrics.refresh = self._refresh
        self._places = range(1, number + 1)
        self._servers: Servers | None = None
        self._hired: dict[int, Hired] = {}
        self._keeping: dict[int, asyncio.Task[None]] = {}
        self._serving: set[int] = set()
        self._doors: set[Held] = set()
        self._numbers: WeakKeyDictionary[SignIn, int] = WeakKeyDictionary()
        self._next_number = count(1)
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()

    def share(self, _: ServerConfig) -> Share:
        """What the servers of the supervisor have: ports that are held for workers."""
        return Share(open_door=self._hold)

    async def start(self, servers: Servers) -> None:
        """Have every worker serve; raises what keeps one of them from it."""
        self._servers = servers
        self._show()
        serving: list[asyncio.Future[None]] = []
        for place in self._places:
            first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            serving.append(first)
            self._keeping[place] = asyncio.create_task(self._keep(place, first))
        await asyncio.gather(*serving)
        logger.info("%d workers serve.", len(serving))

    async def follow(self) -> None:
        """Have every worker serve by the settings that hold now."""
        self._show()
        await asyncio.gather(*(self._instruct(hired) for hired in tuple(self._hired.values())))

    async def stop(self, drain_timeout: float, cut: asyncio.Event) -> None:
        """Let running exchanges end within `drain_timeout` seconds or until `cut`; then no worker is left."""
        self._stopping.set()
        for place, keeping in self._keeping.items():
            if place not in self._hired:
                keeping.cancel()
        cutting = asyncio.create_task(self._cut(cut))
        draining = [asyncio.create_task(_drain(hired)) for hired in self._hired.values()]
        tasks = {*draining, *self._keeping.values()}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=drain_timeout + OVERTIME_SECONDS)
            if late:
                self._kill()
                await asyncio.wait(late)
        cutting.cancel()
        self._ended.set()

    async def _hold(self, address: ListenAddress, _: Service) -> Held:
        held = await Held.open(address, self._let_go)
        self._doors.add(held)
        return held

    async def _let_go(self, held: Held) -> None:
        """Return at once for a port that the settings no longer name, in the end when the workers have ended."""
        if self._stopping.is_set():
            await self._ended.wait()
        self._doors.discard(held)

    async def _keep(self, place: int, first: asyncio.Future[None]) -> None:
        """Have a worker in that place until all of them stop."""
        loop = asyncio.get_running_loop()
        pause = 0.0
        while not self._stopping.is_set():
            began = loop.time()
            how = await self._employ(place, first)
            if self._stopping.is_set():
                return
            logger.error("Worker %d %s; another one takes its place.", place, how)
            pause = next_pause(pause, loop.time() - began)
            await asyncio.sleep(pause)

    async def _employ(self, place: int, first: asyncio.Future[None]) -> str:
        """A worker from its start to its end; how it ended."""
        try:
            hired = await Hired.start(place, self._command)
        except OSError as exc:
            error = ProxyUnavailable(f"No process can be started for a worker: {exc.strerror}")
            if not first.done():
                first.set_exception(error)
            return f"was not started: {exc.strerror}"
        self._hired[place] = hired
        running = asyncio.create_task(hired.run())
        try:
            serves = await self._instruct(hired)
            if serves is None:
                self._note(place, serves=True)
            if not first.done():
                first.set_result(None) if serves is None else first.set_exception(serves)
            elif serves is None:
                logger.info("Worker %d serves again.", place)
            return await running
        finally:
            self._note(place, serves=False)
            del self._hired[place]
            running.cancel()

    def _note(self, place: int, *, serves: bool) -> None:
        (self._serving.add if serves else self._serving.discard)(place)
        self._show()

    def _show(self) -> None:
        """Who asks whether the proxy is ready hears of it where no worker serves."""
        if self._servers is not None:
            for watch in self._servers.watches:
                watch.obstacle = "" if self._serving else "No worker serves."

    async def _instruct(self, hired: Hired) -> ProxyError | None:
        """Have a worker serve by the settings that hold now; what keeps it from it, by which it ends."""
        assert self._servers is not None  # noqa: S101  (they were started)
        servers = []
        sign_ins: dict[int, SignIn] = {}
        for proxy in self._servers.proxies:
            sign_in = proxy.service.sign_in
            number = self._numbers.setdefault(sign_in, 0) or next(self._next_number)
            self._numbers[sign_in] = number
            sign_ins[number] = sign_in
            servers.append((proxy.config, ListenAddress(proxy.config.listen.host, proxy.port), number))
        try:
            await hired.serve(Settings.of(self._servers.config, servers), sign_ins)
        except ProxyError as error:
            if not self._stopping.is_set():
                logger.error("Worker %d cannot serve: %s", hired.number, error.message)  # noqa: TRY400  (no traceback)
            hired.kill()
            return error
        return None

    async def _refresh(self) -> None:
        """Ask the workers what is open."""
        answers = [hired.channel.ask("levels", {}) for hired in self._hired.values()]
        if answers:
            await asyncio.wait(answers, timeout=LEVELS_SECONDS)
        levels = []
        for answer in answers:
            if answer.done() and not answer.exception():
                levels += LevelsAnswer.heard(answer.result()).levels
            answer.cancel()
        self._metrics.tidy()  # What runs at servers that have been left may be over by now.
        for held in self._doors:
            held.levels = [level for level in levels if level.listen == str(held.listen)]

    def _kill(self) -> None:
        for hired in self._hired.values():
            hired.kill()

    async def _cut(self, cut: asyncio.Event) -> None:
        await cut.wait()
        for hired in self._hired.values():
            hired.channel.tell("cut", {})
        await asyncio.sleep(CUT_SECONDS)
        self._kill()


async def _drain(hired: Hired) -> None:
    """Have a worker end what runs, and end."""
    try:
        await hired.channel.ask("drain", {})
    except ProxyError:
        return  # It has gone.
    hired.channel.close()
