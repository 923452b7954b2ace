"""A proxy for one person, in a process of its own whose disk a test can take away.

    python -m tests.attacks.person_proxy '{"base_url": "https://...", ...}'

It prints lines of JSON: its local base URL, then what the person is told and which pages are opened. Each line
on its stdin lets its clock go on by two hours, so that its token is over; it ends at the end of its stdin.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import ClientSession

from proxy.auth import Seams
from proxy.config import ServerConfig
from proxy.server import Proxy

from ..fakes.browser import ScriptedBrowser
from ..fakes.clock import FakeClock

HOURS = 2 * 3600.0
"""The sandbox's tokens live for one."""


class PersonProxy:
    """Such a process, with the person at their browser."""

    def __init__(self, process: Process, browser: ScriptedBrowser) -> None:
        self.process = process
        self.url = ""
        self.told: list[str] = []
        self.opened = 0
        """How often the person was asked to sign in."""
        self._browser = browser
        self._moved = asyncio.Event()

    async def status(self, tool: ClientSession) -> tuple[int, str]:
        """The status of a request after the token's end, and its body."""
        await self._move()
        async with tool.get(f"{self.url}/Patient") as response:
            answer = response.status, (await response.read()).decode()
        await self._move()  # behind all that was told until here
        return answer

    async def listen(self) -> None:
        """Take in what the process prints, until its end."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            match json.loads(line):
                case {"told": str(text)}:
                    self.told.append(text)
                case {"open": str(url)}:
                    self.opened += 1
                    self._browser.open(url)
                case {"moved": True}:
                    self._moved.set()

    async def _move(self) -> None:
        assert self.process.stdin is not None
        self._moved.clear()
        self.process.stdin.write(b"\n")
        await self._moved.wait()


@asynccontextmanager
async def person_proxy(
    before: Sequence[str], state: Path, browser: ScriptedBrowser, **settings: object
) -> AsyncIterator[PersonProxy]:
    """`before` is what the process is started by; sign-ins are kept in the folder `state`."""
    process = await asyncio.create_subprocess_exec(
        *(*before, sys.executable, "-m", __name__, json.dumps({"listen": "127.0.0.1:0", **settings})),
        stdin=PIPE,
        stdout=PIPE,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "XDG_STATE_HOME": str(state), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    proxy = PersonProxy(process, browser)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        proxy.url = json.loads(await process.stdout.readline())["url"]
        listening = asyncio.create_task(proxy.listen())
        try:
            yield proxy
        finally:
            process.stdin.close()
            await listening
    finally:
        process.stdin.close()
        await process.wait()
    assert process.returncode == 0


def say(**line: object) -> None:
    print(json.dumps(line), flush=True)  # noqa: T201


class PrintingBrowser:
    """Prints what it is to open."""

    def open(self, url: str) -> bool:
        say(open=url)
        return True


async def main(settings: dict[str, object]) -> None:
    """Run until stdin ends."""
    clock = FakeClock(time.time())
    seams = Seams(clock, PrintingBrowser(), lambda text: say(told=text), attended=True)
    proxy = Proxy(ServerConfig.of(settings), seams)
    await proxy.start()
    say(url=proxy.url)
    while await asyncio.to_thread(sys.stdin.readline):
        clock.advance(HOURS)
        say(moved=True)
    await proxy.stop(0)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
