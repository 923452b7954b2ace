from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from yarl import URL

from proxy import passage
from proxy.client import SMALL
from proxy.rules.json_places import JsonPlaces
from proxy.server import Proxy

from .fakes.byte_server import Peer, Script, answering, byte_server
from .running import proxy_before

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"


@asynccontextmanager
async def connected(
    script: Script,
) -> AsyncIterator[tuple[Proxy, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A tool's connection to a proxy before a scripted server."""
    async with byte_server(script) as server, proxy_before(f"http://127.0.0.1:{server.port}") as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", URL(proxy.url).port)
        try:
            async with asyncio.timeout(20):
                yield proxy, reader, writer
        finally:
            writer.close()


def get(proxy: Proxy, version: str = "1.1", *fields: str) -> bytes:
    lines = [f"GET /Patient HTTP/{version}", f"Host: {URL(proxy.url).authority}", *fields, "", ""]
    return "\r\n".join(lines).encode()


async def answer(reader: asyncio.StreamReader, size: int = 2) -> bytes:
    return await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(size)


async def test_connection_serves_one_request_after_another() -> None:
    async with connected(answering(OK, OK)) as (proxy, reader, writer):
        for _ in range(2):
            writer.write(get(proxy))
            assert b"Connection: close" not in await answer(reader)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [(OK, 1), (OK.replace(b"\r\n\r\n", b"\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n"), 1)],
)
async def test_every_answer_tells_its_date_once(sent: bytes, expected: int) -> None:
    async with connected(answering(sent)) as (proxy, reader, writer):
        writer.write(get(proxy))

        assert expected == (await answer(reader)).count(b"\r\nDate: ")


async def test_pipelined_requests_are_answered_in_order() -> None:
    second = OK.replace(b"ok", b"no")
    async with connected(answering(OK, second)) as (proxy, reader, writer):
        writer.write(get(proxy) * 2)

        assert [(await answer(reader))[-2:], (await answer(reader))[-2:]] == [b"ok", b"no"]


@pytest.mark.parametrize("fields", [("Connection: close",), ("Connection: keep-alive, close",)])
async def test_connection_closes_as_the_tool_wishes(fields: tuple[str, ...]) -> None:
    async with connected(answering(OK)) as (proxy, reader, writer):
        writer.write(get(proxy, "1.1", *fields))

        assert b"\r\nConnection: close\r\n" in await reader.read()


async def test_http_1_0_tool_gets_no_chunks() -> None:
    async with connected(answering(STREAM)) as (proxy, reader, writer):
        writer.write(get(proxy, "1.0"))
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")

    assert (b"transfer-encoding" in head.lower(), body) == (False, b"abcdef")


async def test_answer_of_unknown_length_is_chunked_anew() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(STREAM[:-5])
        await released.wait()
        await peer.send(STREAM[-5:])

    released = asyncio.Event()
    async with connected(script) as (proxy, reader, writer):
        writer.write(get(proxy))
        head = await reader.readuntil(b"\r\n\r\n")
        first = await reader.readuntil(b"\r\n")
        released.set()

    assert b"Transfer-Encoding: chunked" in head
    assert int(first, 16) > 0


async def test_early_answer_to_an_upload_closes_the_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")

    async with connected(script) as (proxy, reader, writer):
        writer.write(
            f"POST /Binary HTTP/1.1\r\nHost: {URL(proxy.url).authority}\r\nContent-Type: application/pdf\r\n"
            f"Content-Length: {SMALL * 8}\r\n\r\n".encode()
            + b"x" * SMALL
        )
        received = await answer(reader)

    assert received.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nConnection: close\r\n" in received


@pytest.mark.parametrize("earlier", [0, 1], ids=["waiting for a connection", "straight on"])
async def test_fault_of_the_proxy_is_told_without_its_words(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, earlier: int
) -> None:
    words = "patient " + "Chalmers"

    def faulty(*_: object) -> None:
        raise ZeroDivisionError(words)

    async def script(peer: Peer) -> None:
        """Answers with an address whose place has to be asked for."""
        port = peer.writer.get_extra_info("sockname")[1]
        body = b'{"url" : "http://127.0.0.1:%d/x"}' % port
        fields = b"Content-Type: application/fhir+json\r\nContent-Length: %d" % len(body)
        while True:
            await peer.head()
            await peer.send(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n%b" % (fields, body))

    async with connected(script) as (proxy, reader, writer):
        for _ in range(earlier):
            writer.write(get(proxy))
            assert (await reader.readuntil(b'/x"}')).startswith(b"HTTP/1.1 200 ")
        monkeypatch.setattr(JsonPlaces, "__init__", faulty)
        writer.write(get(proxy))
        received = await reader.read()

    assert received.startswith(b"HTTP/1.1 500 ")
    assert b"OperationOutcome" in received
    logged = "\n".join(record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR)
    assert "ZeroDivisionError" in logged
    assert "in faulty" in logged
    assert words not in logged + received.decode()


@pytest.mark.parametrize("earlier", [0, 1], ids=["waiting for a connection", "straight on"])
async def test_fault_after_an_answer_cuts_the_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, earlier: int
) -> None:
    def faulty(*_: object) -> None:
        raise ZeroDivisionError

    async with connected(answering(OK, OK)) as (proxy, reader, writer):
        for _ in range(earlier):
            writer.write(get(proxy))
            await answer(reader)
        monkeypatch.setattr(passage, "log_exchange", faulty)
        writer.write(get(proxy))
        with suppress(ConnectionError):
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")

    assert any("ZeroDivisionError" in record.getMessage() for record in caplog.records)


async def test_broken_chunk_framing_of_an_upload_is_refused_and_never_completed() -> None:
    received: list[bytes] = []

    async def script(peer: Peer) -> None:
        received.append(await peer.rest())

    async with connected(script) as (proxy, reader, writer):
        writer.write(
            f"POST /Patient HTTP/1.1\r\nHost: {URL(proxy.url).authority}\r\nContent-Type: application/json\r\n"
            "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nzz\r\n".encode()
        )
        answered = await reader.read()

    assert answered.startswith(b"HTTP/1.1 400 ")
    assert received in ([], [b""])
