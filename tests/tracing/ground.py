"""The program with traces, in this process, between a server and a collector."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from proxy.admin import Metrics
from proxy.config import Config
from proxy.servers import Servers

from ..fakes.byte_server import Peer
from ..running import unattended

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE, TOOL_SPAN = PARENT.split("-")[1:3]


def servers_of(config: Config) -> Servers:
    return Servers(config, unattended(), lambda _: None, Metrics(), lambda _: "")


@asynccontextmanager
async def program(
    *servers: dict[str, object], stop_cut: bool = False, **process: object
) -> AsyncIterator[Servers]:
    """It runs, and has delivered its traces at the end."""
    given = [{"listen": "127.0.0.1:0", "auth": "anonymous", **server} for server in servers]
    config = Config.of({"server": given, "traces": "otlp", **process})
    running = servers_of(config)
    cut = asyncio.Event()
    if stop_cut:
        cut.set()
    try:
        await running.start()
        async with asyncio.timeout(60):
            yield running
    finally:
        await running.stop(cut)


def otel(monkeypatch: pytest.MonkeyPatch, endpoint: str, **variables: str) -> None:
    """OpenTelemetry's variables, and no others; batches that go out at once."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "20", **variables}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)


class Answering:
    """A server that keeps the heads of requests and gives these answers one by one, the last one for ever."""

    def __init__(self, *answers: bytes) -> None:
        self.heads: list[bytes] = []
        self._answers = list(answers) or [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]

    async def __call__(self, peer: Peer) -> None:
        while True:
            head = await peer.head()
            self.heads.append(head)
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    await peer.exactly(int(line.partition(b":")[2]))
            answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            await peer.send(answer)
            if b"Connection: close" in answer:
                peer.close()

    def lines(self, name: bytes) -> list[bytes]:
        """The values of all field lines of that name in the last request."""
        lines = [line.partition(b": ") for line in self.heads[-1].split(b"\r\n")]
        return [value for found, _, value in lines if found.lower() == name]


def base(port: int) -> dict[str, object]:
    return {"base_url": f"http://127.0.0.1:{port}"}
