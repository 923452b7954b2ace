"""Many tools at once: `python -m bench.crowd [--out FOLDER]`, some two minutes.

1. A thousand tools ask again and again of a server that needs 200 ms: does one of them starve?
2. Ten thousand connections lie idle: what does one cost, and does another tool notice?
3. A thousand tools ask before the first sign-in: is there one sign-in, and does each get its answer?
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles

from proxy.sandbox import Sandbox
from proxy.sandbox.tenant import SECRET, SERVICE

from .nginx import nginx_tuned
from .peer import Peer, Place
from .peers import ours_with, plain_aiohttp
from .processes import LOAD_CPU, PROXY_CPU, Running, free_port, pin
from .report import machine
from .rounds import first_answer, started

TOOLS = 1000
IDLE = 10_000
MOST = 20_000
THINKING = 0.2
SECONDS = 5.0
OPENING_AT_ONCE = 100

SLOW = str(Path(__file__).with_name("slow_server.py"))

PEERS = (
    Peer("proxy", lambda place: ours_with(place, "--max-connections", str(MOST), "--log-level", "warning")),
    Peer("nginx, tuned", nginx_tuned),
    Peer("plain aiohttp", plain_aiohttp),
)


@dataclass(frozen=True, slots=True)
class Crowd:
    """What a thousand tools met; times in seconds."""

    peer: str
    requests_by_second: float
    cpu_by_request: float
    median: float
    worst_hundredth: float
    longest: float
    fewest: int
    most: int
    failed: int


@dataclass(frozen=True, slots=True)
class Idle:
    """What idle connections cost, and how long another tool waits meanwhile."""

    peer: str
    connections: int
    bytes_each: float
    median_alone: float
    median_among: float


@dataclass(frozen=True, slots=True)
class Cold:
    """What a thousand tools met that asked before the first sign-in."""

    tools: int
    answered: int
    token_requests: int
    seconds: float
    bytes_signed_in: int
    """Memory after one exchange and its sign-in, with MSAL loaded."""


class Tool:
    """A connection of its own, on which it asks one thing at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._request = (
            f"GET /fhir/Patient/1 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: application/fhir+json\r\n\r\n"
        ).encode()

    async def open(self) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def ask(self) -> tuple[int, float]:
        """Ask once; the status, and how long it took."""
        begun = time.perf_counter()
        self._writer.write(self._request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        await self._reader.readexactly(length)
        return int(head.split(b" ", 2)[1]), time.perf_counter() - begun

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


async def opened(port: int, count: int) -> list[Tool]:
    """So many tools, connected."""
    tools = [Tool(port) for _ in range(count)]
    for begin in range(0, count, OPENING_AT_ONCE):
        await asyncio.gather(*(tool.open() for tool in tools[begin : begin + OPENING_AT_ONCE]))
    return tools


async def crowd(peer: str, port: int, running: Running) -> Crowd:
    """Let a thousand tools ask for a while."""
    tools = await opened(port, TOOLS)
    until = time.perf_counter() + SECONDS
    waits: list[list[float]] = [[] for _ in tools]
    failed = 0

    async def ask_on(tool: Tool, own: list[float]) -> None:
        nonlocal failed
        while time.perf_counter() < until:
            try:
                status, seconds = await tool.ask()
            except (OSError, EOFError, ValueError):
                failed += 1
                return
            own.append(seconds)
            failed += status != 200

    before, begun = running.cpu_seconds(), time.perf_counter()
    await asyncio.gather(*(ask_on(tool, own) for tool, own in zip(tools, waits, strict=True)))
    seconds, cpu = time.perf_counter() - begun, running.cpu_seconds() - before
    for tool in tools:
        tool.close()
    every = [wait for own in waits for wait in own]
    return Crowd(
        peer,
        len(every) / seconds,
        cpu / len(every),
        median(every),
        quantiles(every, n=100)[-1],
        max(every),
        min(map(len, waits)),
        max(map(len, waits)),
        failed,
    )


async def idle(peer: str, port: int, running: Running) -> Idle:
    """Open many connections, ask once on each, and let them lie."""
    alone = await _waiting(port)
    before = running.resident_bytes()
    tools = await opened(port, IDLE)
    for begin in range(0, IDLE, OPENING_AT_ONCE):
        await asyncio.gather(*(tool.ask() for tool in tools[begin : begin + OPENING_AT_ONCE]))
    after = running.resident_bytes()
    among = await _waiting(port)
    for tool in tools:
        tool.close()
    return Idle(peer, len(tools), (after - before) / len(tools), alone, among)


async def _waiting(port: int) -> float:
    (tool,) = await opened(port, 1)
    waits = [(await tool.ask())[1] for _ in range(200)]
    tool.close()
    return median(waits)


async def cold(folder: Path) -> Cold:
    """Let a thousand tools ask at once of a proxy that has just started."""
    async with Sandbox(patients=3, base_path="/fhir") as sandbox:
        with _signing_in(sandbox, folder) as (port, running):
            await _until_it_listens(port, running)
            (tool,) = await opened(port, 1)
            await tool.ask()
            tool.close()
            signed_in = running.resident_bytes()
        before = len(sandbox.tenant.token_requests)
        with _signing_in(sandbox, folder) as (port, running):
            await _until_it_listens(port, running)
            tools = await opened(port, TOOLS)
            begun = time.perf_counter()
            answers = await asyncio.gather(*(tool.ask() for tool in tools), return_exceptions=True)
            seconds = time.perf_counter() - begun
            for tool in tools:
                tool.close()
        answered = sum(isinstance(answer, tuple) and answer[0] in {200, 404} for answer in answers)
        token_requests = len(sandbox.tenant.token_requests) - before
        return Cold(TOOLS, answered, token_requests, seconds, signed_in)


@contextmanager
def _signing_in(sandbox: Sandbox, folder: Path) -> Iterator[tuple[int, Running]]:
    """Our proxy before the sandbox, as an app with a secret: its port, and its process."""
    port = free_port()
    authority = folder / "tenant.pem"
    authority.write_bytes(sandbox.tenant.ca_pem)
    command = ["proxy", "run", sandbox.fhir.base_url, "--listen", f"127.0.0.1:{port}"]
    sign_in = ["--auth", "client-secret", "--authority", sandbox.tenant.authority]
    more = ["--client-id", SERVICE.client_id, "--ca-bundle", str(authority)]
    environment = {
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "FHIR_AUTH_PROXY_CLIENT_SECRET": SECRET,
    }
    running = Running([sys.executable, "-m", *command, *sign_in, *more], folder, environment, PROXY_CPU)
    try:
        yield port, running
    finally:
        running.stop()


async def _until_it_listens(port: int, running: Running) -> None:
    while not running.ended:
        with suppress(OSError):
            for tool in await opened(port, 1):
                tool.close()
            return
        await asyncio.sleep(0.01)
    raise RuntimeError("the proxy does not start")


@contextmanager
def _before(server: Place, seconds: float) -> Iterator[None]:
    port = str(server.upstream_port)
    serving = Running([sys.executable, SLOW, port, str(seconds)], server.folder, {}, LOAD_CPU)
    try:
        first_answer(serving, f"{server.upstream}/fhir")
        yield
    finally:
        serving.stop()


def measured(folder: Path) -> tuple[list[Crowd], list[Idle], Cold]:
    """Every peer, one after the other."""
    crowds, idles = [], []
    for thinking in (THINKING, 0.0):
        server = Place(0, free_port(), folder)
        with _before(server, thinking):
            for peer in PEERS:
                place = Place(free_port(), server.upstream_port, folder, connections=MOST)
                with started(peer, place, PROXY_CPU) as running:
                    if running is None:
                        continue
                    first_answer(running, f"{place.here}/fhir")
                    if thinking:
                        crowds.append(asyncio.run(crowd(peer.name, place.port, running)))
                    else:
                        idles.append(asyncio.run(idle(peer.name, place.port, running)))
    return crowds, idles, asyncio.run(cold(folder))


def markdown(told: str, crowds: list[Crowd], idles: list[Idle], first: Cold) -> str:
    """The report for people."""
    lines = [
        "# Many tools",
        "",
        f"On {told}.",
        "",
        f"## {TOOLS:,} tools for {SECONDS:.0f} s, a server that needs {THINKING * 1e3:.0f} ms",
        "",
        "| proxy | requests/s | CPU µs a request | p50 ms | p99 ms | longest ms | answers to one tool | failed |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {one.peer} | {one.requests_by_second:,.0f} | {one.cpu_by_request * 1e6:.0f} | {one.median * 1e3:.0f} "
            f"| {one.worst_hundredth * 1e3:.0f} | {one.longest * 1e3:.0f} | {one.fewest} to {one.most} | {one.failed} |"
            for one in crowds
        ),
        "",
        f"## {IDLE:,} idle connections",
        "",
        "| proxy | KB a connection | p50 of another tool, alone ms | among them ms |",
        "|---|---|---|---|",
        *(
            f"| {one.peer} | {one.bytes_each / 1e3:.1f} | {one.median_alone * 1e3:.2f} | {one.median_among * 1e3:.2f} |"
            for one in idles
        ),
        "",
        "## Before the first sign-in",
        "",
        (
            f"{first.tools:,} tools asked at once: {first.answered:,} were answered, the last after "
            f"{first.seconds:.1f} s, with {first.token_requests} request for a token. After one exchange and its "
            f"sign-in, with MSAL loaded, the proxy has {first.bytes_signed_in / 1e6:.0f} MB."
        ),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.crowd", description=__doc__)
    parser.add_argument("--out", type=Path, help="folder for crowd.md and crowd.json")
    arguments = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    told = machine()
    pin(LOAD_CPU)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        crowds, idles, first = measured(Path(folder))
    text = markdown(told, crowds, idles, first)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "crowd.md").write_text(text, encoding="utf-8")
        found = {
            "machine": told,
            "crowd": [asdict(one) for one in crowds],
            "idle": [asdict(one) for one in idles],
            "cold": asdict(first),
        }
        (arguments.out / "crowd.json").write_text(json.dumps(found, indent=1) + "\n")
    print(text)  # noqa: T201


if __name__ == "__main__":
    main()
