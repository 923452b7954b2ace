"""A proxy in a process of its own that tells, whenever a line comes on its stdin, what it holds: a line of JSON.

    python -m tests.attacks.sampled '{"base_url": "https://...", ...}'

It starts with its local base URL, and ends at the end of its stdin.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from proxy.config import ServerConfig
from proxy.server import Proxy

from ..running import unattended

PROCESS = Path("/proc/self")


@dataclass(frozen=True)
class Sample:
    """What the process holds; resident bytes and open files are 0 where the system does not tell them."""

    resident: int
    files: int
    tasks: int
    tools: int
    upstream: int


class SampledProxy:
    """A proxy in such a process."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.url = url
        self._process = process

    async def sample(self) -> Sample:
        """What it holds now."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        return Sample(**json.loads(await self._process.stdout.readline()))


@asynccontextmanager
async def sampled_proxy(**settings: object) -> AsyncIterator[SampledProxy]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, json.dumps({"listen": "127.0.0.1:0", **settings})),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert process.stdout is not None
        yield SampledProxy(process, (await process.stdout.readline()).decode().strip())
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.communicate()
    assert process.returncode == 0


def held_by_the_system() -> tuple[int, int]:
    """Resident bytes and open files of this process, as Linux tells them."""
    if not PROCESS.is_dir():
        return 0, 0
    pages = int((PROCESS / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir(PROCESS / "fd"))


async def main(settings: dict[str, object]) -> None:
    """Run until stdin ends."""
    logging.disable()
    proxy = Proxy(ServerConfig.of(settings), unattended())
    await proxy.start()
    print(proxy.url, flush=True)  # noqa: T201
    while await asyncio.to_thread(sys.stdin.readline):
        gc.collect()
        resident, files = held_by_the_system()
        tools, upstream = proxy.client_connections, proxy.upstream_connections
        sample = Sample(resident, files, len(asyncio.all_tasks()), tools, upstream)
        print(json.dumps(vars(sample)), flush=True)  # noqa: T201
    await proxy.stop(0)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
