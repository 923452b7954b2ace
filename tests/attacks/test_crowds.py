"""Many tools at once, and servers that die under them, with real processes: no wrong answer, nothing left."""

from __future__ import annotations

import asyncio
import random
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from proxy.sandbox import Sandbox

from ..running import proxy_before
from .sampled import sampled_proxy

TOOLS = 1000
PAGE = 20


async def test_a_thousand_tools_of_which_a_quarter_leaves_in_the_middle() -> None:
    got: Counter[str] = Counter()

    async def tool(number: int) -> None:
        async with session.get(f"{proxy.url}/Patient?_count={PAGE}&_getpagesoffset={number}") as answer:
            assert answer.status == 200
            if number % 4 == 0:
                await answer.content.read(100)
                answer.close()
                got["left"] += 1
                return
            entries = (await answer.json(content_type=None))["entry"]
            got["right"] += len({entry["resource"]["id"] for entry in entries}) == PAGE

    async with Sandbox(patients=PAGE, is_open=True) as sandbox:
        async with sampled_proxy(base_url=sandbox.fhir.base_url, auth="anonymous") as proxy:
            connector = TCPConnector(limit=0, force_close=True)
            async with ClientSession(connector=connector, timeout=ClientTimeout(120)) as session:
                await asyncio.gather(*map(tool, range(TOOLS)))
                before = await proxy.sample()
                got.clear()
                await asyncio.gather(*map(tool, range(TOOLS)))
            left = await proxy.sample()
            async with asyncio.timeout(60):
                while left.tools or left.tasks > 2:
                    left = await proxy.sample()

    assert {"left": TOOLS // 4, "right": TOOLS - TOOLS // 4} == got
    assert left.upstream <= TOOLS
    assert left.resident < before.resident + 32 * 1024 * 1024


@asynccontextmanager
async def server_process(folder: Path, port: int = 0) -> AsyncIterator[tuple[Process, str]]:
    """The sandbox as a program, and the URL of its FHIR server."""
    arguments = ("sandbox", "--open", "--patients", str(PAGE), "--port", str(port), "--tenant-port", "0")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", *arguments, "--ca-file", str(folder / "ca.pem")),
        stdout=PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().strip().partition("=")[2]
        assert url, "the sandbox has not started"
        yield process, url
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def test_server_that_is_killed_under_load_and_comes_back(tmp_path: Path) -> None:
    statuses: Counter[int] = Counter()
    served, refused = asyncio.Event(), asyncio.Event()
    over = False

    async def tool(seed: int) -> None:
        chance = random.Random(seed)
        while not over:
            id_ = f"patient-{chance.randint(1, PAGE):04}"
            try:
                async with session.get(f"{proxy.url}/Patient/{id_}") as answer:
                    told = await answer.json(content_type=None)
            except ClientError:
                continue  # cut in the middle
            statuses[answer.status] += 1
            right = told["id"] == id_ if answer.status == 200 else told["resourceType"] == "OperationOutcome"
            assert right, told["resourceType"]
            (served if answer.status == 200 else refused).set()

    async with asyncio.timeout(120), server_process(tmp_path) as (first, url):
        async with proxy_before(url) as proxy, ClientSession() as session, asyncio.TaskGroup() as tools:
            for seed in range(8):
                tools.create_task(tool(seed))
            await served.wait()
            first.kill()
            await refused.wait()
            async with server_process(tmp_path, int(url.split(":")[2].partition("/")[0])):
                served.clear()
                await served.wait()
                over = True

    assert set(statuses) <= {200, 502, 503, 504}
