from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import pytest

from proxy.admin import Metrics
from proxy.config import Config
from proxy.errors import ProxyUnavailable
from proxy.servers import Servers
from proxy.workers import Workers, supervisor
from proxy.workers.supervisor import FIRST_PAUSE, LONGEST_PAUSE, STEADY_SECONDS, next_pause

from ..fakes.byte_server import Peer, byte_server
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


def crew(command: Sequence[str]) -> tuple[Workers, Servers]:
    config = Config.of(
        {"server": [{"base_url": "http://127.0.0.1:9", "listen": "127.0.0.1:0", "auth": "anonymous"}]}
    )
    metrics = Metrics()
    workers = Workers(2, command, metrics)
    return workers, Servers(config, unattended(), lambda _: None, metrics, lambda _: "", workers.share)


@pytest.mark.skipif(sys.platform != "linux", reason="workers are for Linux")
@pytest.mark.parametrize("name", COMMANDS)
async def test_worker_that_cannot_start_is_told_and_none_is_left(name: str) -> None:
    command, words = COMMANDS[name]
    workers, servers = crew(command)
    await servers.start()
    async with asyncio.timeout(60):
        with pytest.raises(ProxyUnavailable, match=words):
            await workers.start(servers)
        await asyncio.gather(workers.stop(1.0, asyncio.Event()), servers.stop(asyncio.Event()))

    assert ["The proxy is stopping."] == [await watch.unready() for watch in servers.watches]


@pytest.mark.skipif(sys.platform != "linux", reason="workers are for Linux")
async def test_cut_ends_workers_that_do_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "CUT_SECONDS", 0.1)
    started = asyncio.Semaphore(0)

    async def script(peer: Peer) -> None:
        started.release()
        await peer.rest()

    async with byte_server(script) as server, asyncio.timeout(60):
        calls = f"import signal, socket; s = socket.create_connection(('127.0.0.1', {server.port})); signal.pause()"
        workers, servers = crew([sys.executable, "-c", calls])
        await servers.start()
        starting = asyncio.create_task(workers.start(servers))
        for _ in range(2):
            await started.acquire()
        starting.cancel()
        assert ["No worker serves."] == [await watch.unready() for watch in servers.watches]
        cut = asyncio.Event()
        cut.set()
        await asyncio.gather(workers.stop(3600.0, cut), servers.stop(cut))
        await server.until_closed()
