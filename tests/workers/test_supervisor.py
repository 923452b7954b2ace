from __future__ import annotations

import asyncio
import sys

import pytest

from proxy.admin import Metrics
from proxy.config import Config
from proxy.errors import ProxyUnavailable
from proxy.servers import Servers
from proxy.workers import Workers
from proxy.workers.supervisor import FIRST_PAUSE, LONGEST_PAUSE, STEADY_SECONDS, next_pause

from ..running import unattended

PAUSES = [
    # before, lived, pause
    (0.0, 0.1, FIRST_PAUSE),
    (FIRST_PAUSE, 0.1, 2 * FIRST_PAUSE),
    (LONGEST_PAUSE, 0.1, LONGEST_PAUSE),
    (0.0, STEADY_SECONDS + 1, 0.0),
    (LONGEST_PAUSE, STEADY_SECONDS + 1, 0.0),
]


@pytest.mark.parametrize(("former", "lived", "expected"), PAUSES)
def test_workers_that_do_not_live_long_are_replaced_ever_more_slowly(
    former: float, lived: float, expected: float
) -> None:
    assert expected == next_pause(former, lived)


COMMANDS = {
    "ends": ([sys.executable, "-c", "raise SystemExit(3)"], "has ended"),
    "is not there": (["/no/such/program"], "No process can be started for a worker: No such file"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="workers are for Linux")
@pytest.mark.parametrize("name", COMMANDS)
async def test_worker_that_cannot_start_is_told_and_none_is_left(name: str) -> None:
    command, words = COMMANDS[name]
    config = Config.model_validate(
        {"server": [{"base_url": "http://127.0.0.1:9", "listen": "127.0.0.1:0", "auth": "anonymous"}]}
    )
    metrics = Metrics()
    workers = Workers(2, command, metrics)
    servers = Servers(config, unattended(), lambda _: None, metrics, lambda _: "", workers.share)
    await servers.start()
    async with asyncio.timeout(60):
        with pytest.raises(ProxyUnavailable, match=words):
            await workers.start(servers)
        await asyncio.gather(workers.stop(1.0, asyncio.Event()), servers.stop(asyncio.Event()))

    assert ["The proxy is stopping."] == [await watch.unready() for watch in servers.watches]
