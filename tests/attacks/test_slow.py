"""Threat model D1: tools and servers that are slow on purpose hold a connection for a bounded time, and nobody else up."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from ..fakes.byte_server import Peer
from .ground import BASE, OK, Ground, get, ground

SHORT = 0.2
"""Seconds of every limit that ends an attack here."""


async def dripped(here: Ground, data: bytes, until: asyncio.Event | None = None) -> bytes:
    """What comes back on a connection that brings a byte at a time, until the proxy has enough."""
    reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
    received = b""

    async def drip() -> None:
        for byte in here.filled(data):
            writer.write(bytes([byte]))
            await asyncio.sleep(
                SHORT / 10
            )  # the attack itself: slower than any tool, faster than idle timers

    dripping = asyncio.ensure_future(drip())
    try:
        async with asyncio.timeout(20):
            try:
                while piece := await reader.read(65536):
                    received += piece
            except ConnectionError:
                pass
    finally:
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
        writer.transport.abort()
    return received


HEADS = [
    b"GET /fhir/Patient?name=%x HTTP/1.1\r\nHost: %h\r\n" + b"X-Slow: " + b"a" * 4000,
    b"GET /fhir/Patient?name=" + b"x" * 4000,
    b"POST /fhir/Patient HTTP/1.1\r\nHost: %h\r\n"
    + b"".join(b"X-%d: 1\r\n" % number for number in range(90)),
    b"\r\n" * 2000,
]


@pytest.mark.parametrize("head", HEADS, ids=["a field", "a target", "many fields", "empty lines"])
async def test_head_that_drips_is_given_up(head: bytes) -> None:
    async with ground(head_timeout=SHORT) as here:
        received = await dripped(here, head)

        assert b"" == received or received.startswith(b"HTTP/1.1 4")
        assert [] == here.upstream.requests
        assert await here.is_healthy()


async def test_head_that_drips_behind_a_served_request_is_given_up() -> None:
    """The timer is for each request of a connection, not for its first."""
    async with ground(head_timeout=SHORT) as here:
        first = b"GET /fhir/Patient/1 HTTP/1.1\r\nHost: %h\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        try:
            async with asyncio.timeout(20):
                writer.write(here.filled(first))
                served = await reader.readuntil(b"\r\n\r\nok")
                writer.write(b"GET /fhir/Patient/2 HTTP/1.1\r\nX-Slow: ")
                rest = await reader.read()
        finally:
            writer.transport.abort()

        assert served.startswith(b"HTTP/1.1 200")
        assert b"" == rest or rest.startswith(b"HTTP/1.1 408")
        assert 1 == len(here.upstream.requests)
        assert await here.is_healthy()


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 100\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n5\r\n"],
    ids=["length", "chunks", "in a chunk"],
)  # fmt: skip
async def test_body_that_stops_is_given_up_and_never_stored(head: bytes) -> None:
    request = b"POST /fhir/Patient HTTP/1.1\r\nHost: %h\r\nContent-Type: application/fhir+json\r\n" + head
    async with ground(upload_timeout=SHORT) as here, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        writer.write(here.filled(request))
        answer = await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

        assert answer.startswith(b"HTTP/1.1 408 ")
        assert [] == here.upstream.bodies
        assert await here.is_healthy()


async def test_tool_that_reads_nothing_is_cut_and_its_exchange_ends() -> None:
    """An endless answer to a tool that does not read: the server's connection is let go as well."""
    left = asyncio.Event()

    async def endless(peer: Peer) -> None:
        await peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 9999999999\r\n\r\n"
        )
        try:
            while True:
                await peer.send(bytes(65536))
        except ConnectionError:
            left.set()

    async with ground(endless, send_timeout=SHORT) as here:
        _, writer = await asyncio.open_connection("127.0.0.1", here.port, limit=1024)
        writer.write(here.filled(get(BASE + b"/Binary/1")))
        async with asyncio.timeout(20):
            await left.wait()
        writer.transport.abort()

        assert await here.is_healthy()


async def test_server_that_says_nothing_is_given_up() -> None:
    async def silent(peer: Peer) -> None:
        await peer.reader.read()

    async with ground(silent, read_timeout=SHORT) as here:
        [answer] = await here.ask(get())

        assert 504 == answer.status
        assert await here.is_healthy()


async def test_slow_connections_up_to_the_bound_leave_a_place_once_they_are_given_up() -> None:
    async with ground(head_timeout=5 * SHORT, max_connections=5) as here, AsyncExitStack() as slow:
        connections = [await asyncio.open_connection("127.0.0.1", here.port) for _ in range(5)]
        for _, writer in connections:
            slow.callback(writer.transport.abort)
            writer.write(b"GET /fhir/Patient HTTP/1.1\r\n")
        [refused] = await here.ask(get())
        async with asyncio.timeout(20):
            for reader, _ in connections:
                await reader.read()

        assert 503 == refused.status
        assert await here.is_healthy()


async def test_slow_tool_that_keeps_going_is_served() -> None:
    """The control: small pieces in good time are no attack."""
    async with ground(OK, head_timeout=20) as here:
        received = await dripped(here, get(BASE + b"/Patient/1"))

        assert received.startswith(b"HTTP/1.1 200")


async def test_server_that_drips_its_head_is_given_up() -> None:
    async def dripping(peer: Peer) -> None:
        try:
            for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 2000:
                await peer.send(bytes([byte]))
                await asyncio.sleep(SHORT / 10)  # the attack itself
        except ConnectionError:
            return

    async with ground(dripping, read_timeout=SHORT) as here:
        [answer] = await here.ask(get())

        assert 504 == answer.status
        assert await here.is_healthy()
