"""A worker: it serves by the settings that its supervisor gives, until that says stop or is gone."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from .. import server as server_module
from ..admin import Metrics
from ..auth import Seams
from ..config import ServerConfig
from ..listening import Listening
from ..servers import Servers, Share
from .channel import Channel
from .remote import Outbox, RemoteAuthenticator, RemoteMetrics
from .wire import Level, LevelsAnswer, Message, Settings

SetUpLogging = Callable[[str, str], None]
"""Log from that level on, in that format."""


@dataclass(frozen=True, slots=True)
class _SignIn:
    own: RemoteAuthenticator
    metrics: RemoteMetrics


async def work(end: socket.socket, seams: Seams, set_up_logging: SetUpLogging) -> None:
    """Serve for the supervisor at the other end until it says stop; where it is gone, cut what runs."""
    await _Worker(seams, set_up_logging).run(end)


@dataclass(slots=True)
class _Worker:
    seams: Seams
    set_up_logging: SetUpLogging
    servers: Servers | None = None
    sign_ins: dict[int, _SignIn] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    cut: asyncio.Event = field(default_factory=asyncio.Event)
    one: asyncio.Lock = field(default_factory=asyncio.Lock)
    channel: Channel = field(init=False)
    outbox: Outbox = field(init=False)

    def __post_init__(self) -> None:
        self.channel = Channel(
            {"settings": self._take_settings, "levels": self._levels, "drain": self._drain},
            {"cut": lambda _: self.cut.set()},
        )
        self.outbox = Outbox(self.channel)

    async def run(self, end: socket.socket) -> None:
        """Talk until the supervisor has what it asked for and closes, or is gone."""
        await self.channel.open(end)
        await self.channel.run()
        self.cut.set()
        await self._stop()

    async def _take_settings(self, message: Message) -> Message:
        async with self.one:
            await self._serve_by(Settings.heard(message))
        return {}

    async def _serve_by(self, settings: Settings) -> None:
        config, self.numbers = settings.config, settings.sign_ins
        if self.servers is None:
            self.set_up_logging(config.log_level, config.log_format)
            # What is to be said of a listener the supervisor has said.
            logging.getLogger(server_module.__name__).setLevel(logging.ERROR)
            self.servers = Servers(config, self.seams, lambda _: None, Metrics(), lambda _: "", self._share)
            await self.servers.start()
        else:
            await self.servers.change(config, self.cut)
        for number in self.sign_ins.keys() - set(self.numbers.values()):
            del self.sign_ins[number]

    def _share(self, config: ServerConfig) -> Share:
        number = self.numbers[str(config.listen)]
        if number not in self.sign_ins:
            self.sign_ins[number] = _SignIn(
                RemoteAuthenticator(self.channel, self.seams.clock, number),
                RemoteMetrics(self.outbox, number),
            )
        shared = self.sign_ins[number]
        return Share(shared.metrics, shared.own, partial(Listening.open, joining=True))

    async def _levels(self, _: Message) -> Message:
        self.outbox.send()
        return LevelsAnswer(
            levels=[
                Level(
                    listen=str(proxy.config.listen),
                    connections=proxy.client_connections,
                    upstream_connections=proxy.upstream_connections,
                    pause_seconds=proxy.pause_seconds,
                    concurrency_limit=proxy.concurrency_limit,
                )
                for proxy in (self.servers.proxies if self.servers else ())
            ]
        ).plain()

    async def _drain(self, _: Message) -> Message:
        await self._stop()
        self.outbox.send()
        return {}

    async def _stop(self) -> None:
        async with self.one:
            if self.servers is not None:
                servers, self.servers = self.servers, None
                await servers.stop(self.cut)
