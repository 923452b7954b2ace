"""Exchanges of tools go on whatever becomes of Redis."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from itertools import count

import pytest
import redis
from aiohttp import ClientSession

from proxy.auth.renewal import LEEWAY, RENEW_AHEAD
from proxy.model import Credentials
from proxy.sandbox import Sandbox
from proxy.sandbox.tenant import HttpError, Lifetime
from proxy.server import Proxy

from ..auth.conftest import until
from ..fakes.clock import FakeClock
from ..running import proxy_of, unattended
from .server import RedisServer, link_to
from .test_replicas import HOUR, KEY, TROUBLES, Trouble

REPLICAS, TOOLS, EXCHANGES = 3, 6, 60


class Load:
    """Tools that read without a pause, each from all replicas in turn."""

    def __init__(self, replicas: list[Proxy]) -> None:
        self.statuses: Counter[int] = Counter()
        self.tasks: list[asyncio.Task[None]] = []
        self._replicas = replicas

    async def goes_on(self) -> None:
        """Return when so many exchanges more have ended that each replica has had some."""
        enough = self.statuses.total() + EXCHANGES
        await until(lambda: self.statuses.total() >= enough or any(task.done() for task in self.tasks))

    async def in_hand(self) -> set[Credentials | None]:
        """The tokens that the replicas use."""
        return {await one.watch.credentials() for one in self._replicas}

    async def read(self, tool: ClientSession) -> None:
        for number in count():
            replica = self._replicas[number % len(self._replicas)]
            async with tool.get(f"{replica.url}/Patient?_summary=count") as answer:
                await answer.read()
            self.statuses[answer.status] += 1


@asynccontextmanager
async def loaded(replicas: list[Proxy]) -> AsyncIterator[Load]:
    load = Load(replicas)
    async with ClientSession() as tool:
        load.tasks = [asyncio.create_task(load.read(tool)) for _ in range(TOOLS)]
        try:
            yield load
        finally:
            for task in load.tasks:
                task.cancel()
            ended = await asyncio.gather(*load.tasks, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended


@pytest.mark.parametrize(
    ("begin", "end"), TROUBLES, ids=["restarted", "down", "paused", "partitioned", "full"]
)
async def test_no_exchange_fails_because_of_redis(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, begin: Trouble, end: Trouble
) -> None:
    monkeypatch.setattr("proxy.auth.redis_entries.PAUSE", 0.0)
    clock = FakeClock()
    async with Sandbox(patients=1) as sandbox, link_to(redis_server.port) as link, AsyncExitStack() as stack:
        faults = sandbox.tenant.faults

        async def replica() -> Proxy:
            shared = {"token_cache": f"redis://127.0.0.1:{link.port}", "token_cache_key": KEY}
            return await stack.enter_async_context(
                proxy_of(sandbox, replace(unattended(), clock=clock), **shared)
            )

        faults.always(Lifetime(HOUR))
        replicas = [await replica() for _ in range(REPLICAS)]
        async with loaded(replicas) as load:
            await load.goes_on()
            begin(redis_server, link)
            await load.goes_on()  # by the token in hand
            before = await load.in_hand()
            clock.advance(HOUR - RENEW_AHEAD)
            await load.goes_on()  # while each replica renews its own
            while before & await load.in_hand():
                await load.goes_on()
            replicas.append(await replica())
            await load.goes_on()  # the new one, too
            faults.always(HttpError(503))
            clock.advance(HOUR - RENEW_AHEAD)
            await load.goes_on()  # by the token in hand, though Entra ID is away as well
            faults.always(Lifetime(HOUR))
            end(redis_server, link)
            await load.goes_on()
            clock.advance(HOUR - LEEWAY)
            await load.goes_on()  # by new tokens alone
            with redis.Redis(port=redis_server.port) as client:
                await until(lambda: client.dbsize() > 0)

    assert {200} == set(load.statuses)
    assert load.statuses.total() >= 7 * EXCHANGES
