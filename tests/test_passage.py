"""What needs a coroutine and what does not; either way the tool gets the same."""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from yarl import URL

from proxy import listening
from proxy.client import SMALL
from proxy.client_connection import ClientConnection
from proxy.client_exchanges import walk
from proxy.passage import Passage
from proxy.server import Proxy
from proxy.stepping import Run

from .fakes.byte_server import Peer, Script, byte_server
from .running import proxy_before

OK = b"HTTP/1.1 200 OK\r\n"
FHIR = b"Content-Type: application/fhir+json\r\n"
FIRST = OK + b"Content-Length: 5\r\n\r\nfirst"


def sized(body: bytes, *lines: bytes, status: bytes = OK) -> bytes:
    return b"".join(
        [status, *(line + b"\r\n" for line in lines), b"Content-Length: %d\r\n\r\n" % len(body), body]
    )


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[Passage]:
    """The exchanges of plain requests that had to wait."""
    taken: list[Passage] = []

    def counted(connection: ClientConnection, passage: Passage) -> Run:
        taken.append(passage)
        return walk(connection, passage)

    monkeypatch.setattr(listening, "walk", counted)
    return taken


@asynccontextmanager
async def second_request(
    script: Script, front: str = "fast"
) -> AsyncIterator[tuple[Proxy, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A tool's connection whose first request has been answered, so that a connection to the server is free."""
    async with byte_server(script) as server:
        async with proxy_before(f"http://127.0.0.1:{server.port}/fhir", front=front) as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", URL(proxy.url).port)
            try:
                async with asyncio.timeout(20):
                    writer.write(request(proxy))
                    await reader.readuntil(b"first")
                    yield proxy, reader, writer
            finally:
                writer.close()


def request(proxy: Proxy, method: str = "GET", *lines: str) -> bytes:
    head = [f"{method} /fhir/Patient/1 HTTP/1.1", f"Host: {URL(proxy.url).authority}", *lines]
    return "\r\n".join([*head, "", ""]).encode()


@dataclass(frozen=True)
class Case:
    answer: tuple[bytes, ...]
    """As it is sent to the second request, piece by piece; the connection is closed after nothing."""
    walks: int
    method: str = "GET"
    status: int = 200


GZIPPED = gzip.compress(b'{"resourceType":"Patient"}', mtime=0)
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

CASES = {
    "small": Case((sized(b'{"id":"1"}', FHIR.strip()),), 0),
    "in pieces": Case((OK + b"Content-Length: 6\r\n\r\nab", b"cd", b"ef"), 0),
    "empty": Case((sized(b""),), 0),
    "none": Case((b"HTTP/1.1 204 No Content\r\n\r\n",), 0, status=204),
    "not modified": Case((b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n',), 0, status=304),
    "to HEAD": Case((OK + b"Content-Length: 77\r\n\r\n",), 0, method="HEAD"),
    "not found": Case((sized(b"{}", status=b"HTTP/1.1 404 Not Found\r\n"),), 0, status=404),
    "chunked, whole": Case((CHUNKED + b"3\r\nabc\r\n0\r\n\r\n",), 0),
    "chunked, in pieces": Case((CHUNKED + b"3\r\nabc\r\n", b"3\r\ndef\r\n0\r\n\r\n"), 1),
    "until the end": Case((OK + b"Connection: close\r\n\r\nabc", b""), 1),
    "large": Case((OK + b"Content-Length: %d\r\n\r\n" % (SMALL + 1), bytes(SMALL + 1)), 1),
    "to be decoded": Case((sized(GZIPPED, FHIR.strip(), b"Content-Encoding: gzip"),), 1),
    "in a coding that nobody asked for": Case(
        (sized(b"?", FHIR.strip(), b"Content-Encoding: other"),), 0, status=502
    ),
    "asking for patience": Case(
        (sized(b"", b"Retry-After: 9999", status=b"HTTP/1.1 429 Too Many Requests\r\n"),), 1, status=429
    ),
    "refusing": Case((sized(b"", status=b"HTTP/1.1 403 Forbidden\r\n"),), 1, status=403),
    "no HTTP": Case((b"SSH-2.0-OpenSSH_9.2\r\n",), 1, status=502),
    "cut": Case((OK + b"Content-Length: 6\r\n\r\nab", b""), 1, status=502),
}


def script_of(case: Case) -> Script:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(FIRST)
        await peer.head()
        for piece in case.answer:
            if piece:
                await peer.send(piece)
                await asyncio.sleep(0.01)
            else:
                peer.close()

    return script


def comparable(answer: bytes) -> bytes:
    """An answer without what differs each time."""
    return re.sub(rb"(Date|X-Request-Id|Host): [^\r]*|[0-9a-f]{32}|127\.0\.0\.1:\d+", b"", answer)


async def answer_of(case: Case, front: str) -> bytes:
    async with second_request(script_of(case), front) as (proxy, reader, writer):
        writer.write(request(proxy, case.method, "Connection: close"))
        return await reader.read()


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
async def test_exchange_waits_only_where_it_has_to(case: Case, walks: list[Passage]) -> None:
    async with second_request(script_of(case)) as (proxy, reader, writer):
        del walks[:]
        writer.write(request(proxy, case.method, "Connection: close"))
        answer = await reader.read()
    assert case.walks == len(walks)
    assert answer.startswith(b"HTTP/1.1 %d " % case.status)


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
async def test_tool_gets_the_same_either_way(case: Case) -> None:
    straight, parsed = await answer_of(case, "fast"), await answer_of(case, "aiohttp")

    assert comparable(parsed) == comparable(straight)


async def test_request_with_a_body_waits(walks: list[Passage]) -> None:
    async with second_request(script_of(CASES["small"])) as (proxy, reader, writer):
        del walks[:]
        writer.write(
            request(proxy, "PUT", "Content-Length: 2", "Content-Type: application/fhir+json") + b"{}"
        )
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 ")
    assert 1 == len(walks)


async def test_connection_that_has_just_ended_is_replaced(walks: list[Passage]) -> None:
    """The server closes while the request is on its way: it goes out again, on a new connection."""

    async def script(peer: Peer) -> None:
        await peer.head()
        if peer.number == 1:
            await peer.send(FIRST)
            await peer.head()
            peer.reset()
        else:
            await peer.send(sized(b"second"))

    async with second_request(script) as (proxy, reader, writer):
        del walks[:]
        writer.write(request(proxy))
        assert (await reader.readuntil(b"second")).startswith(b"HTTP/1.1 200 ")
    assert 1 == len(walks)


async def test_refused_request_is_answered_and_nothing_is_sent(walks: list[Passage]) -> None:
    heads: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            heads.append(await peer.head())
            await peer.send(FIRST)

    async with second_request(script) as (proxy, reader, writer):
        writer.write(request(proxy).replace(b"/fhir/Patient", b"/fhir/../Patient"))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 4")
    assert 1 == len(heads)


async def test_tool_that_leaves_cuts_the_exchange(
    walks: list[Passage], caplog: pytest.LogCaptureFixture
) -> None:
    asked, cut = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(FIRST)
        await peer.head()
        asked.set()
        await peer.rest()
        cut.set()

    caplog.set_level("INFO", "proxy.forwarding")
    async with second_request(script) as (proxy, _, writer):
        del walks[:]
        writer.write(request(proxy))
        await asked.wait()
        assert not walks
        writer.transport.abort()
        await cut.wait()
    assert [499] == [record.args[1] for record in caplog.records if record.args and record.args[1] != 200]


async def test_tool_that_does_not_read_is_waited_for(walks: list[Passage]) -> None:
    body = bytes(SMALL)
    answered = asyncio.Semaphore(0)

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(FIRST)
        while True:
            await peer.head()
            await peer.send(sized(body))
            answered.release()

    async with second_request(script) as (proxy, reader, writer):
        del walks[:]
        asked = 0
        while not walks:
            assert asked < 100
            writer.write(request(proxy))
            await answered.acquire()
            await asyncio.sleep(0.01)
            asked += 1
        writer.write(request(proxy))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(answered.acquire(), 0.2)
        for _ in range(asked + 1):
            await reader.readuntil(b"\r\n\r\n")
            assert body == await reader.readexactly(len(body))
    assert 1 == len(walks)
