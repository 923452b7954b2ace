"""Threat model 3.6: requests and answers that would use up memory, connections or patience."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib

import pytest

from ..fakes.byte_server import Peer, byte_server
from ..running import proxy_before
from .ground import (
    OK,
    PATIENT,
    SEARCH,
    Ground,
    HostileServer,
    assert_carried,
    assert_is_ours,
    assert_refused,
    get,
    ground,
    head,
)

MEBIBYTE = 1024 * 1024

# D2: large heads -----------------------------------------------------------------------------------------------------

LARGE = [
    (get(b"/Patient?name=%x" + b"y" * 33_000), (414,)),
    (get(b"/Patient?name=%x" + b"y" * 70_000), (414,)),
    (get(b"/" + b"y" * 40_000), (414,)),
    (get(b"/Patient?name=%x", b"X: " + b"y" * 33_000), (431,)),
    (get(b"/Patient?name=%x", b"X: " + b"y" * 70_000), (431,)),
    (get(b"/Patient?name=%x", b"y" * 70_000 + b": x"), (431,)),
    (get(b"/Patient?name=%x", *(b"X-%d: " % n + b"y" * 3_000 for n in range(12))), (431,)),
    (get(b"/Patient?name=%x", *(b"X-%d: y" % n for n in range(300))), (400, 431)),
    (get(b"/Patient?name=%x", b"Cookie: " + b"%x" * 3_000), (431,)),
]


@pytest.mark.parametrize(("request_bytes", "statuses"), LARGE, ids=lambda value: repr(value)[:40])
async def test_head_beyond_the_bounds_reaches_no_one(request_bytes: bytes, statuses: tuple[int, ...]) -> None:
    await assert_refused(request_bytes, *statuses)


async def test_head_without_end_is_given_up() -> None:
    async with ground() as here:
        answers = await here.ask(
            b"GET /Patient HTTP/1.1\r\nHost: %h\r\n", *[b"X: " + b"y" * 60_000 + b"\r\n"] * 300
        )

        assert [answer.status for answer in answers] == [431]
        assert here.upstream.requests == []
        assert await here.is_healthy()


# D3, D4: large bodies and bombs --------------------------------------------------------------------------------------


def bomb(size: int) -> bytes:
    """JSON white space of that size, in a thousandth of it."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(b" " * MEBIBYTE) for _ in range(size // MEBIBYTE)), packer.flush()])


class Counting:
    """A server's script that counts a request's body, and forgets it."""

    def __init__(self) -> None:
        self.received = 0

    async def __call__(self, peer: Peer) -> None:
        await peer.head()
        while not (piece := await peer.reader.read(65536)).endswith(b"0\r\n\r\n"):
            self.received += len(piece)
        await peer.send(OK)


async def test_compressed_bomb_of_a_tool_takes_no_memory() -> None:
    packed = bomb(64 * MEBIBYTE)
    counting = Counting()
    lines = (
        b"Content-Type: application/fhir+json",
        b"Content-Encoding: gzip",
        b"Content-Length: %d" % len(packed),
    )
    async with byte_server(counting) as fake, proxy_before(f"http://127.0.0.1:{fake.port}") as proxy:
        here = Ground(proxy, HostileServer(), fake, int(proxy.url.rpartition(":")[2]))
        tracemalloc.start()
        try:
            answers = await here.ask(head(b"POST", b"/Patient", *lines) + packed)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert [answer.status for answer in answers] in ([200], [413])
    assert peak < 16 * MEBIBYTE


@pytest.mark.parametrize(
    "media_type", [b"application/fhir+json", b"application/fhir+xml", b"application/pdf"]
)
async def test_compressed_bomb_of_the_server_takes_no_memory(media_type: bytes) -> None:
    packed = bomb(64 * MEBIBYTE)
    reply = (
        b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
        % (media_type, len(packed), packed)
    )
    async with ground(reply) as here:
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        tracemalloc.start()
        try:
            writer.write(here.filled(get(b"/Patient", b"Accept-Encoding: identity")))
            received, end = 0, b""
            while piece := await reader.read(65536):
                received, end = received + len(piece), (end + piece)[-5:]
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        writer.transport.abort()

        assert (end == b"0\r\n\r\n") == (received > 64 * MEBIBYTE)
        assert peak < 16 * MEBIBYTE
        assert await here.is_healthy()


NO_GZIP = [b"\x1f\x8b", b"\x1f\x8b\x08\x00" + b"\xff" * 100, b"not gzip", gzip.compress(b"{}")[:-4]]


@pytest.mark.parametrize("body", NO_GZIP, ids=repr)
async def test_body_that_is_not_what_its_coding_says_is_refused(body: bytes) -> None:
    lines = (
        b"Content-Type: application/fhir+json",
        b"Content-Encoding: gzip",
        b"Content-Length: %d" % len(body),
    )
    await assert_refused(head(b"POST", b"/Patient", *lines) + body, 400)


@pytest.mark.parametrize(
    "coding", [b"gzip, gzip", b"deflate, gzip", b"compress", b"x-evil", b"gzip;q=1", b"zip"]
)
async def test_coding_that_cannot_be_read_is_refused(coding: bytes) -> None:
    lines = (b"Content-Type: application/fhir+json", b"Content-Encoding: " + coding, b"Content-Length: 14")
    await assert_refused(head(b"POST", b"/Patient", *lines) + b"%x", 400, 415)


NESTED = [b"[" * 200_000, b'{"a":' * 100_000, b'"' + b"\\u0000" * 50_000 + b'"', b"1" * 300_000]


@pytest.mark.parametrize("body", NESTED, ids=lambda body: repr(body[:8]))
async def test_odd_json_passes_as_it_is_or_is_cut(body: bytes) -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nContent-Length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )
    async with ground(reply) as here:
        (answer,) = await here.ask(get())

        assert body.startswith(answer.body)
        assert answer.is_whole == (answer.body == body)
        assert await here.is_healthy()


# D5: many connections ------------------------------------------------------------------------------------------------


async def test_server_that_never_answers_is_not_asked_without_bound() -> None:
    held = asyncio.Event()

    async def hang(peer: Peer) -> None:
        await held.wait()
        await peer.send(OK)

    async with ground(hang, connect_timeout=0.5) as here:
        asking = [asyncio.ensure_future(here.ask(get())) for _ in range(300)]
        refused = 0
        for done in asyncio.as_completed(asking):
            (answer,) = await done
            if answer.status != 200:
                assert answer.status in {503, 504}
                assert_is_ours(answer)
                refused += 1
            if refused == 300 - 256:
                held.set()

        assert here.fake.accepted <= 256
        assert refused >= 300 - 256
        assert await here.is_healthy()


async def test_connections_that_say_nothing_stop_nobody() -> None:
    async with ground() as here:
        idle = [await asyncio.open_connection("127.0.0.1", here.port) for _ in range(200)]
        half = [await asyncio.open_connection("127.0.0.1", here.port) for _ in range(200)]
        for _, writer in half:
            writer.write(b"GET /Patient HTTP/1.1\r\nHo")

        assert await here.is_healthy()
        for _, writer in (*idle, *half):
            writer.transport.abort()


# D6: pipelining ------------------------------------------------------------------------------------------------------


async def test_flood_of_pipelined_requests_is_answered_one_by_one() -> None:
    async with ground() as here:
        answers = await here.ask(b"GET /Patient?name=%x HTTP/1.1\r\nHost: %h\r\n\r\n" * 1000 + get())

        assert [answer.status for answer in answers] == [200] * 1001
        assert here.upstream.lines == [SEARCH] * 1001
        assert here.fake.accepted <= 2
        assert await here.is_healthy()


# D7: tools that leave ------------------------------------------------------------------------------------------------


async def test_tools_that_leave_end_what_the_server_does_for_them() -> None:
    asked = asyncio.Semaphore(0)

    async def hang(peer: Peer) -> None:
        asked.release()
        await peer.rest()

    async with ground(hang) as here:
        writers = []
        for _ in range(50):
            _, writer = await asyncio.open_connection("127.0.0.1", here.port)
            writer.write(here.filled(get()))
            writers.append(writer)
        async with asyncio.timeout(20):
            for _ in writers:
                await asked.acquire()
            for writer in writers:
                writer.transport.abort()
            await here.fake.until_closed()

        assert await here.is_healthy()


# Controls ------------------------------------------------------------------------------------------------------------


async def test_long_search_passes() -> None:
    target = b"/Patient?_id=" + b",".join(b"%d" % number for number in range(5000))
    await assert_carried(get(target), b"GET /fhir" + target)


async def test_large_upload_passes_whole() -> None:
    body = PATIENT.encode() * 200_000
    async with ground() as here:
        lines = (b"Content-Type: application/pdf", b"Content-Length: %d" % len(body))
        (answer,) = await here.ask(head(b"POST", b"/Binary", *lines) + body)

        assert (answer.status, here.upstream.bodies == [body]) == (200, True)
        assert await here.is_healthy()
