"""A link that breaks at every point: no wrong answer, no short one that looks whole, nothing left open."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import ClientError, ClientSession, DummyCookieJar

from proxy.sandbox import Sandbox
from proxy.sandbox.tenant.faults import Hang, HttpError, Lifetime
from proxy.server import Proxy

from ..fakes.byte_server import Peer, byte_server
from ..fakes.clock import FakeClock
from ..fakes.fault_link import Act, Fault, FaultLink, Way, fault_link
from ..running import proxy_before, proxy_of, unattended

FULL = 400_000


def body_of(number: int) -> bytes:
    """An answer that says whose it is in every line."""
    line = b'{"patient":"%08d"}\n' % number
    return line * (FULL // len(line))


class Records:
    """A server that answers /Patient/N with N's record, by length, in chunks or compressed; keeps what it stores."""

    def __init__(self) -> None:
        self.stored: list[bytes] = []
        self.begun = 0

    async def __call__(self, peer: Peer) -> None:
        while True:
            head = await peer.head()
            self.begun += 1
            method, target, _ = head.split(b" ", 2)
            if method == b"POST":
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.stored.append(await peer.exactly(length))
                await peer.send(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
                continue
            kind, number = target.split(b"/")[-2:]
            body = body_of(int(number))
            if kind == b"Chunked":
                half = len(body) // 2
                pieces = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:]))
                await peer.send(
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n"
                )
            else:
                await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


@asynccontextmanager
async def linked(**settings: object) -> AsyncIterator[tuple[Proxy, FaultLink, Records, ClientSession]]:
    """A tool, a proxy, a link and a server; at the end nothing of the proxy is left."""
    tasks = asyncio.all_tasks()
    records = Records()
    async with byte_server(records) as server, fault_link(server.port) as link:
        async with (
            proxy_before(f"http://127.0.0.1:{link.port}", **settings) as proxy,
            ClientSession(cookie_jar=DummyCookieJar()) as tool,
        ):
            yield proxy, link, records, tool
        link.release()
        async with asyncio.timeout(20):
            await link.until_closed()
            await server.until_closed()
    async with asyncio.timeout(20):
        while left := {task for task in asyncio.all_tasks() - tasks if task is not asyncio.current_task()}:
            await asyncio.wait(left)


async def fetch(tool: ClientSession, proxy: Proxy, kind: str, number: int) -> tuple[int, bytes | None]:
    """Status and body; None for one that the tool sees to be cut."""
    try:
        async with tool.get(f"{proxy.url}/{kind}/{number}") as response:
            try:
                return response.status, await response.read()
            except ClientError:
                return response.status, None
    except ClientError:
        return 0, None


OFFSETS = [0, 1, 17, 40, 60, 1000, 100_000, FULL // 2 + 60, FULL - 1]


def patience(act: Act) -> float:
    """Only silence has to be waited for; a loaded machine is slow."""
    return 1 if act is Act.BLACKHOLE else 60


BREAKING = [Act.RESET, Act.CUT, Act.HALF_CLOSE, Act.BLACKHOLE]


@pytest.mark.parametrize("kind", ["Patient", "Chunked"])
@pytest.mark.parametrize("act", BREAKING)
async def test_answer_that_breaks_anywhere_is_never_short_and_whole(act: Act, kind: str) -> None:
    for offset in OFFSETS if act is not Act.BLACKHOLE else [0, 40, 100_000]:
        async with linked(read_timeout=patience(act)) as (proxy, link, _, tool):
            link.fault = Fault(act, Way.DOWN, offset)
            status, body = await fetch(tool, proxy, kind, 1)
            assert (status, body is None) in {(502, False), (504, False), (200, True)}, offset

            link.fault = None
            assert await fetch(tool, proxy, kind, 2) == (200, body_of(2))


@pytest.mark.parametrize("act", [Act.RESET, Act.CUT, Act.BLACKHOLE])
async def test_upload_that_breaks_anywhere_is_never_stored_short(act: Act) -> None:
    body = body_of(7)
    for offset in (0, 20, 100, 1000, 100_000, 390_000) if act is not Act.BLACKHOLE else (0, 100_000):
        async with linked(read_timeout=patience(act)) as (proxy, link, records, tool):
            link.fault = Fault(act, Way.UP, offset)
            async with tool.post(f"{proxy.url}/Binary", data=body) as response:
                assert response.status in {502, 504}, offset
            assert records.stored == []

            link.fault = None
            async with tool.post(f"{proxy.url}/Binary", data=body) as response:
                assert response.status == 201
            assert records.stored == [body]


@pytest.mark.parametrize("kind", ["Patient", "Chunked"])
@pytest.mark.parametrize("offset", [0, 30, FULL - 2000])
@pytest.mark.parametrize("act", [Act.DELAY, Act.TRICKLE])
async def test_slow_link_changes_no_byte(act: Act, offset: int, kind: str) -> None:
    if act is Act.TRICKLE and offset < FULL // 2:
        body_offset = FULL - 3000  # a head in single bytes is enough; the body would take minutes
        faults = [Fault(act, Way.UP, 0), Fault(act, Way.DOWN, body_offset)]
    else:
        faults = [Fault(act, Way.DOWN, offset)]
    for fault in faults:
        async with linked() as (proxy, link, _, tool):
            link.fault = fault
            asking = asyncio.ensure_future(fetch(tool, proxy, kind, 5))
            await link.reached.wait()
            link.release()

            assert await asking == (200, body_of(5))


async def test_no_tool_gets_anothers_record_while_links_break() -> None:
    faults = [
        Fault(act, Way.DOWN, offset) for act in (Act.RESET, Act.CUT, Act.HALF_CLOSE) for offset in OFFSETS
    ]
    async with linked() as (proxy, link, _, tool):

        async def ask(number: int) -> None:
            link.fault = faults[number % len(faults)] if number % 3 else None
            status, body = await fetch(tool, proxy, "Chunked" if number % 2 else "Patient", number)
            assert status in {0, 200, 502}
            if status == 200 and body is not None:
                assert body == body_of(number)

        for start in range(0, 120, 12):
            await asyncio.gather(*(ask(number) for number in range(start, start + 12)))
        link.fault = None
        assert await fetch(tool, proxy, "Patient", 1) == (200, body_of(1))


async def test_crowd_of_which_a_quarter_leaves_leaves_nothing_behind() -> None:
    crowd = 300
    async with linked(connect_timeout=60) as (proxy, _, records, _):
        port = int(proxy.url.rpartition(":")[2])

        async def one(number: int) -> bool:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(
                    b"GET /Patient/%d HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n"
                    % (number, port)
                )
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 ")
                if number % 4 == 0:
                    await reader.readexactly(1000)
                    return True
                return await reader.read() == body_of(number)
            finally:
                writer.transport.abort()

        async with asyncio.timeout(120):
            assert all(await asyncio.gather(*(one(number) for number in range(crowd))))
        assert records.begun == crowd


# Entra down ----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(patients=3) as running:
        yield running


async def status_of(tool: ClientSession, proxy: Proxy) -> tuple[int, bool]:
    """The status, and whether the tool is told when to come back."""
    async with tool.get(f"{proxy.url}/Patient?_summary=count") as response:
        await response.read()
        return response.status, "Retry-After" in response.headers


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_token_is_used_while_entra_is_down_and_the_next_one_needs_no_restart(
    sandbox: Sandbox, status: int
) -> None:
    clock = FakeClock()
    seams = replace(unattended(), clock=clock)
    async with (
        proxy_of(sandbox, seams) as proxy,
        ClientSession(cookie_jar=DummyCookieJar()) as tool,
    ):
        sandbox.tenant.faults.next(Lifetime(3600))
        assert await status_of(tool, proxy) == (200, False)
        sandbox.tenant.faults.always(HttpError(status))
        for _ in range(5):
            clock.advance(700)  # to 3500 s: past every early renewal, before the end
            assert await status_of(tool, proxy) == (200, False)
        clock.advance(200)
        assert await status_of(tool, proxy) == (503, True)
        sandbox.tenant.faults.clear()
        clock.advance(120)
        assert await status_of(tool, proxy) == (200, False)


async def test_token_is_used_while_entra_hangs(sandbox: Sandbox) -> None:
    clock = FakeClock()
    async with (
        proxy_of(sandbox, replace(unattended(), clock=clock)) as proxy,
        ClientSession(cookie_jar=DummyCookieJar()) as tool,
    ):
        sandbox.tenant.faults.next(Lifetime(3600))
        assert await status_of(tool, proxy) == (200, False)
        hang = Hang()
        sandbox.tenant.faults.always(hang)
        clock.advance(3450)
        async with asyncio.timeout(20):
            assert await status_of(tool, proxy) == (200, False)
        sandbox.tenant.faults.clear()
        assert await status_of(tool, proxy) == (200, False)


async def test_server_that_died_is_told_and_used_again_when_it_is_back() -> None:
    records = Records()
    async with ClientSession(cookie_jar=DummyCookieJar()) as tool:
        async with byte_server(records) as first:
            port = first.port
            async with fault_link(port) as link, proxy_before(f"http://127.0.0.1:{link.port}") as proxy:
                assert await fetch(tool, proxy, "Patient", 1) == (200, body_of(1))
                await first.stop()
                link.fault = Fault(Act.RESET, Way.UP, 0)
                status, body = await fetch(tool, proxy, "Patient", 2)
                assert (status, json.loads(body or b"")["resourceType"]) == (502, "OperationOutcome")
                link.fault = None
                assert await fetch(tool, proxy, "Patient", 3) == (200, body_of(3))
