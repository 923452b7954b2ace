"""The program with workers, in processes of its own, before any server."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aiohttp import ClientError, ClientSession, DummyCookieJar, TCPConnector

from proxy.sandbox import Sandbox
from proxy.sandbox.tenant import SECRET, SERVICE


class Crew:
    """A running program: its address, its log so far, its workers' process ids."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.url = ""
        self.admin = ""
        self.lines: list[str] = []
        self._more = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    @property
    def workers(self) -> list[int]:
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        children = [int(pid) for task in tasks for pid in (task / "children").read_text("ascii").split()]
        return [pid for pid in children if state(pid) not in {"", "Z"}]

    async def line(self, *words: str, after: int = 0) -> str:
        """The first line that holds all words, from line `after` on, as soon as there is one."""

        def found() -> list[str]:
            lines = [line for line in self.lines[after:] if all(word in line for word in words)]
            return lines or ["" for _ in [0] if self._reading.done()]

        async with self._more:
            await self._more.wait_for(found)
        assert found()[0], f"no line with {words} in {self.lines[after:]}"
        return found()[0]

    async def metric(self, tool: ClientSession, name: str) -> float:
        """The sum of a metric's values."""
        async with tool.get(f"{self.admin}/metrics") as response:
            values = re.findall(
                rf"^fhir_auth_proxy_{name}(?:\{{.*\}})? (\S+)$", await response.text(), re.MULTILINE
            )
        return sum(map(float, values))

    async def ended(self) -> int:
        status = await self.process.wait()
        await self._reading
        return status

    async def _read(self) -> None:
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            async with self._more:
                self.lines.append(line.decode())
                self._more.notify_all()
        async with self._more:
            self._more.notify_all()


def state(pid: int) -> str:
    """A process's state as /proc shows it; empty where there is none."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
    return ""


async def gone(pids: Sequence[int]) -> None:
    """Wait until none of the processes runs."""
    for pid in pids:
        with suppress(ProcessLookupError):
            await _end_of(os.pidfd_open(pid))


async def _end_of(descriptor: int) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


@asynccontextmanager
async def started(settings: Path, *arguments: str, **environment: str) -> AsyncIterator[Crew]:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("FHIR_AUTH_", "AZURE_"))
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "proxy", "run", "--config", str(settings), "--admin-listen", "127.0.0.1:0", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=inherited | environment,
        start_new_session=True,  # without a terminal, as a service
    )
    crew = Crew(process)
    try:
        async with asyncio.timeout(120):
            yield crew
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await crew.ended()


@asynccontextmanager
async def serving(settings: Path, *arguments: str, **environment: str) -> AsyncIterator[Crew]:
    async with started(settings, *arguments, **environment) as crew:
        assert crew.process.stdout is not None
        crew.url = (await crew.process.stdout.readline()).decode().strip()
        assert crew.url, crew.lines
        crew.admin = "http://" + (await crew.line("Admin listener")).rpartition("http://")[2].strip()
        yield crew


async def stopped(crew: Crew) -> int:
    crew.process.send_signal(signal.SIGTERM)
    return await crew.ended()


def anonymous(folder: Path, base_url: str, **settings: object) -> Path:
    """A configuration file before an open server."""
    return written(folder, base_url=base_url, auth="anonymous", **settings)


def signed_in(folder: Path, sandbox: Sandbox, base_url: str, **settings: object) -> Path:
    """A configuration file for an application of the sandbox."""
    ca_file = folder / "ca.pem"
    ca_file.write_bytes(sandbox.tenant.ca_pem)
    identity = {
        "auth": "client-secret",
        "authority": sandbox.tenant.authority,
        "client_id": SERVICE.client_id,
        "client_secret": SECRET,
        "ca_bundle": str(ca_file),
    }
    return written(folder, base_url=base_url, **{**identity, **settings})


def written(folder: Path, **settings: object) -> Path:
    file = folder / "c.toml"
    defaults = {"listen": "127.0.0.1:0", "workers": 2}
    file.write_text(
        "".join(f"{key} = {value!r}\n" for key, value in {**defaults, **settings}.items()), "utf-8"
    )
    return file


def tools(connections: int = 0) -> ClientSession:
    """A tool with so many connections at most; 0 for one to each request that runs."""
    return ClientSession(connector=TCPConnector(limit=connections), cookie_jar=DummyCookieJar())


class Load:
    """Tools that ask again and again, each time by a connection of its own, until it is enough."""

    def __init__(self, url: str, number: int) -> None:
        self.answers: Counter[str] = Counter()
        self._url = url
        self._changed = asyncio.Condition()
        self._is_enough = False
        self._asking = [asyncio.create_task(self._ask()) for _ in range(number)]

    async def answered(self, more: int) -> None:
        """Wait until that many requests more were answered."""
        async with self._changed:
            wanted = self.answers["200"] + more
            await self._changed.wait_for(lambda: self.answers["200"] >= wanted)

    async def end(self) -> None:
        self._is_enough = True
        await asyncio.gather(*self._asking)

    async def _ask(self) -> None:
        while not self._is_enough:
            async with tools(1) as tool:
                try:
                    answer = str(await read(tool, self._url))
                except ClientError:
                    answer = "broken"
            async with self._changed:
                self.answers[answer] += 1
                self._changed.notify_all()


async def read(tool: ClientSession, url: str) -> int:
    async with tool.get(f"{url}/Patient/1") as response:
        await response.read()
        return response.status
