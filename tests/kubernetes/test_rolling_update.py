"""A rolling update as config/kubernetes/replicas has it, with real processes behind a TCP balancer, under load.

What the cluster does is done here: a replica gets connections while it is ready, its endpoint is taken away first, then
it gets SIGTERM; the next one goes when a new one is ready.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest
from aiohttp import ClientSession, ClientTimeout, TCPConnector

from proxy.sandbox import Sandbox
from proxy.sandbox.tenant import SECRET, SERVICE

REPLICAS = 3
TOOLS = 8
NAME = "fhir-auth-proxy:8080"


@dataclass(frozen=True)
class Replica:
    process: asyncio.subprocess.Process
    port: int

    async def ended(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode


@asynccontextmanager
async def replica(sandbox: Sandbox, ca_file: Path) -> AsyncIterator[Replica]:
    """One that is ready: signed in, and the server reached."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "proxy", "run", sandbox.fhir.base_url, "--auth", "client-secret", "--listen", "127.0.0.1:0"),
        *(
            "--authority",
            sandbox.tenant.authority,
            "--client-id",
            SERVICE.client_id,
            "--ca-bundle",
            str(ca_file),
        ),
        *("--allowed-host", NAME, "--admin-listen", "127.0.0.1:0", "--log-level", "error"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "AZURE_CLIENT_SECRET": SECRET},
    )
    try:
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().strip()
        async with ClientSession() as kubelet, kubelet.get(f"{url}/Patient?_summary=count") as answer:
            assert 200 == answer.status
        yield Replica(process, int(url.split(":")[2].partition("/")[0]))
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


@dataclass
class Balancer:
    """A Service: each new connection goes to the next endpoint, bytes as they are."""

    endpoints: list[Replica] = field(default_factory=list)
    _turn: count[int] = field(default_factory=count)
    _carrying: set[asyncio.Task[None]] = field(default_factory=set)
    """The event loop itself keeps no task alive."""

    def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        carrying = asyncio.create_task(self._carry(reader, writer))
        self._carrying.add(carrying)
        carrying.add_done_callback(self._carrying.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        chosen = self.endpoints[next(self._turn) % len(self.endpoints)]
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", chosen.port)
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(_copy(reader, upstream_writer))
                ways.create_task(_copy(upstream_reader, writer))
        finally:
            for side in (upstream_writer, writer):
                side.close()
                with suppress(OSError):
                    await side.wait_closed()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()


async def observations(balancer: Balancer) -> int:
    """How many the server has."""
    url = f"http://127.0.0.1:{balancer.endpoints[0].port}/Observation?_summary=count"
    async with ClientSession() as session, session.get(url, headers={"Host": NAME}) as answer:
        return int((await answer.json(content_type=None))["total"])


@dataclass
class Load:
    """Tools that create and search, each on connections of its own, until told to stop."""

    url: str
    created: int = 0
    found: int = 0
    progressed: asyncio.Event = field(default_factory=asyncio.Event)
    over: bool = False

    async def tool(self) -> None:
        connector = TCPConnector(force_close=True)
        headers = {"Host": NAME, "Content-Type": "application/fhir+json"}
        async with ClientSession(connector=connector, headers=headers, timeout=ClientTimeout(60)) as session:
            while not self.over:
                async with session.post(
                    f"{self.url}/Observation", data=b'{"resourceType":"Observation"}'
                ) as answer:
                    assert 201 == answer.status, await answer.text()
                self.created += 1
                async with session.get(f"{self.url}/Patient?_count=3") as answer:
                    bundle = await answer.json(content_type=None)
                    assert 200 == answer.status
                    assert 3 == len(bundle["entry"])
                    assert all(link["url"].startswith(f"http://{NAME}/") for link in bundle["link"])
                self.found += 1
                self.progressed.set()

    async def some_more(self) -> None:
        """Requests ended since this was called."""
        for _ in range(2 * TOOLS):
            self.progressed.clear()
            await self.progressed.wait()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM, and no Kubernetes of this kind")
async def test_rolling_update_loses_no_request(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    async with Sandbox(patients=10) as sandbox, AsyncExitStack() as cluster:
        ca_file.write_bytes(sandbox.tenant.ca_pem)
        starting = [cluster.enter_async_context(replica(sandbox, ca_file)) for _ in range(REPLICAS)]
        balancer = Balancer([await one for one in starting])
        stored_before = await observations(balancer)
        server = await asyncio.start_server(balancer, "127.0.0.1", 0)
        load = Load(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        statuses = []
        async with server, asyncio.timeout(120), asyncio.TaskGroup() as tools:
            for _ in range(TOOLS):
                tools.create_task(load.tool())
            for old in tuple(balancer.endpoints):
                balancer.endpoints.append(await cluster.enter_async_context(replica(sandbox, ca_file)))
                await load.some_more()
                balancer.endpoints.remove(old)
                statuses.append(await old.ended())
            await load.some_more()
            load.over = True
        stored = await observations(balancer) - stored_before

    assert [0] * REPLICAS == statuses
    assert load.created == load.found == stored
