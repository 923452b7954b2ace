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
LONG = gzip.compress(b'{"id":"%b"}' % bytes(8 * SMALL), mtime=0)
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
    "to be decoded": Case((sized(GZIPPED, FHIR.strip(), b"Content-Encoding: gzip"),), 0),
    "to be decoded, in pieces": Case(
        (OK + FHIR + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(GZIPPED), GZIPPED), 0
    ),
    "to be decoded, chunked": Case(
        (
            OK + FHIR + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"%x\r\n%b\r\n0\r\n\r\n" % (len(GZIPPED), GZIPPED),
        ),
        1,
    ),
    "decoded to more than is held": Case((sized(LONG, FHIR.strip(), b"Content-Encoding: gzip"),), 1),
    "coded wrongly": Case((sized(b"no gzip", FHIR.strip(), b"Content-Encoding: gzip"),), 0, status=502),
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


def upload(proxy: Proxy, body: bytes, *lines: str, method: str = "PUT") -> bytes:
    fields = ("Content-Type: application/fhir+json", f"Content-Length: {len(body)}", *lines)
    return request(proxy, method, *fields) + body


class Takes:
    """A server that answers its first request, and takes the body of each later one before the next answer."""

    def __init__(self, *answers: bytes) -> None:
        self.bodies: list[bytes] = []
        self._answers = iter(answers)

    async def __call__(self, peer: Peer) -> None:
        if peer.number == 1:
            await peer.head()
            await peer.send(FIRST)
        while True:
            head = await peer.head()
            length = re.search(rb"(?i)content-length: (\d+)", head)
            self.bodies.append(await peer.exactly(int(length[1]) if length else 0))
            answer = next(self._answers)
            if not answer:
                peer.reset()
                return
            await peer.send(answer)


LAST = sized(b"last")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "POST"])
async def test_body_that_has_come_goes_up_at_once(method: str, walks: list[Passage]) -> None:
    server = Takes(LAST)
    async with second_request(server) as (proxy, reader, writer):
        del walks[:]
        writer.write(upload(proxy, b"{}", method=method))
        assert (await reader.readuntil(b"last")).startswith(b"HTTP/1.1 200 ")
    assert ([b"{}"], 0) == (server.bodies, len(walks))


@pytest.mark.parametrize("size", [1000, 60_000, SMALL])
async def test_body_goes_up_as_it_came(size: int) -> None:
    server, body = Takes(LAST), bytes(range(250)) * (size // 250 + 1)
    async with second_request(server) as (proxy, reader, writer):
        writer.write(upload(proxy, body[:size]))
        assert (await reader.readuntil(b"last")).startswith(b"HTTP/1.1 200 ")
    assert [body[:size]] == server.bodies


async def test_body_that_comes_later_is_waited_for(walks: list[Passage]) -> None:
    server = Takes(LAST)
    async with second_request(server) as (proxy, reader, writer):
        del walks[:]
        message = upload(proxy, b'{"id":"1"}')
        writer.write(message[:-4])
        await asyncio.sleep(0.05)
        writer.write(message[-4:])
        assert (await reader.readuntil(b"last")).startswith(b"HTTP/1.1 200 ")
    assert ([b'{"id":"1"}'], 1) == (server.bodies, len(walks))


@pytest.mark.parametrize("coding", ["", "gzip"])
async def test_addresses_in_a_body_that_goes_up_at_once_are_the_servers(
    coding: str, walks: list[Passage]
) -> None:
    server = Takes(LAST)
    async with second_request(server) as (proxy, reader, writer):
        del walks[:]
        body = b'{"reference":"%s/Patient/1"}' % proxy.url.encode()
        if coding:
            writer.write(upload(proxy, gzip.compress(body), "Content-Encoding: gzip"))
        else:
            writer.write(upload(proxy, body))
        assert (await reader.readuntil(b"last")).startswith(b"HTTP/1.1 200 ")
        assert URL(proxy.url).authority.encode() not in server.bodies[0]
        assert b"/fhir/Patient/1" in server.bodies[0]
    assert bool(coding) == len(walks)


async def test_body_goes_up_again_after_a_pause(walks: list[Passage]) -> None:
    pause = sized(b"", b"Retry-After: 0", status=b"HTTP/1.1 429 Too Many Requests\r\n")
    server = Takes(pause, LAST)
    async with second_request(server) as (proxy, reader, writer):
        del walks[:]
        writer.write(upload(proxy, b"{}"))
        assert (await reader.readuntil(b"last")).startswith(b"HTTP/1.1 200 ")
    assert ([b"{}", b"{}"], 1) == (server.bodies, len(walks))


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_body_that_may_have_arrived_is_not_sent_again(method: str) -> None:
    """The server closes while the request is on its way."""
    server = Takes(b"", LAST)
    async with second_request(server) as (proxy, reader, writer):
        writer.write(upload(proxy, b"{}", "Connection: close", method=method))
        assert (await reader.read()).startswith(b"HTTP/1.1 502 ")
    assert [b"{}"] == server.bodies


BATCH = b'{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"%s","url":"Patient/1"}}]}'


@pytest.mark.parametrize(("method", "status"), [(b"GET", 200), (b"DELETE", 403)])
async def test_batch_is_read_before_it_goes_up_at_once(method: bytes, status: int) -> None:
    server = Takes(LAST)
    async with byte_server(server) as upstream:
        base = f"http://127.0.0.1:{upstream.port}/fhir"
        async with proxy_before(base, policy="read-only") as proxy, asyncio.timeout(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", URL(proxy.url).port)
            writer.write(request(proxy))
            await reader.readuntil(b"first")
            body = BATCH % method
            message = upload(proxy, body, "Connection: close", method="POST")
            writer.write(message.replace(b"/fhir/Patient/1 ", b"/fhir ", 1))
            assert (await reader.read()).startswith(b"HTTP/1.1 %d " % status)
            writer.close()
    assert ([body] if status == 200 else []) == server.bodies


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
