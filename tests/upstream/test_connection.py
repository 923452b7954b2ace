from __future__ import annotations

import asyncio
import hashlib
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from proxy.errors import BadRequest, UpstreamProtocolError, UpstreamTimeout, UpstreamUnreachable
from proxy.model import RequestHead
from proxy.upstream import Answer, Timeouts, Upstream, chunks, small_body
from proxy.upstream.body import HIGH_WATER
from proxy.upstream.connection import Connection
from tests.fakes.byte_server import Peer, answering, byte_server

from .conftest import OK, Connect, pieces, request, sized, whole

MEBIBYTE = 1024 * 1024

# The answer.


async def body_of(upstream: Upstream, head: RequestHead) -> bytes:
    return await whole(await upstream.send(head))


async def read_with(answer: Answer, read: asyncio.Event) -> None:
    async for _ in chunks(answer):
        read.set()


async def test_request_and_answer_cross_byte_for_byte(connect: Connect) -> None:
    received: list[bytes] = []

    async def script(peer: Peer) -> None:
        received.append(await peer.head())
        await peer.send(OK + b'eTag: W/"1"\r\nContent-Length: 3\r\n\r\nabc')

    async with byte_server(script) as server:
        answer = await connect(server.port).send(
            request("GET", b"/Patient?name=a%2Fb|c+d&x=,&x", (b"A", b"b \xff"))
        )
        body = await whole(answer)

    sent = b"GET /Patient?name=a%2Fb|c+d&x=,&x HTTP/1.1\r\nHost: fhir.example\r\nA: b \xff\r\n\r\n"
    assert received == [sent]
    assert (answer.head.status, answer.head.reason, answer.length, body) == (200, b"OK", 3, b"abc")
    assert answer.head.fields.lines == ((b"eTag", b'W/"1"'), (b"Content-Length", b"3"))


@pytest.mark.parametrize(
    ("response", "limit", "expected"),
    [
        (sized(b"abc"), 3, b"abc"),
        (sized(b""), 0, b""),
        (sized(b"abc"), 2, None),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", 3, b"abc"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", 2, None),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n", 9, None),
        (OK + b"Content-Length: %d\r\n\r\n" % (HIGH_WATER + 1), HIGH_WATER * 2, None),
    ],
)
async def test_small_body_comes_in_one_piece(
    connect: Connect, response: bytes, limit: int, expected: bytes | None
) -> None:
    async with byte_server(answering(response)) as server:
        answer = await connect(server.port).send(request())
        body = await small_body(answer, limit)
        answer.close()

    assert body == expected


async def test_small_body_is_waited_for(connect: Connect) -> None:
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(OK + b"Content-Length: 3\r\n\r\na")
        await go_on.wait()
        await peer.send(b"b", b"c")

    async with byte_server(script) as server:
        sending = asyncio.ensure_future(connect(server.port).send(request()))
        await asyncio.sleep(0.01)
        assert not sending.done()
        go_on.set()
        answer = await sending

        assert await small_body(answer, 10) == b"abc"


CUT = {
    "before the answer": b"",
    "in the head": OK + b"Content-Le",
    "after an interim answer": b"HTTP/1.1 100 Continue\r\n\r\n",
    "in a body of known length": OK + b"Content-Length: 9\r\n\r\nabc",
    "in a chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\nabc",
    "before the last chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
}


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("case", CUT)
async def test_cut_answer_is_an_error(connect: Connect, case: str, reset: bool) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(CUT[case])
        if reset:
            peer.reset()
        else:
            peer.close()

    async with byte_server(script) as server:
        with pytest.raises(UpstreamUnreachable, match=rf"^127\.0\.0\.1:{server.port} ") as caught:
            await body_of(connect(server.port), request("GET", b"/Patient?name=secret"))
        await server.until_closed()
    assert "secret" not in f"{caught.value}{caught.value.hint}"


async def test_small_body_that_is_cut_is_an_error(connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(OK + b"Content-Length: 9\r\n\r\nabc")
        peer.close()

    async with byte_server(script) as server:
        answer = await connect(server.port).send(request())
        with pytest.raises(UpstreamUnreachable, match="broke off its answer"):
            await small_body(answer, 100)


async def test_body_may_end_with_the_connection(connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(OK + b"\r\nabc", b"def")
        peer.close()

    async with byte_server(script) as server:
        assert await whole(await connect(server.port).send(request())) == b"abcdef"


async def test_body_that_ends_with_a_reset_is_cut(connect: Connect) -> None:
    read = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(OK + b"\r\nabc")
        await read.wait()
        linger_for_no_time = struct.pack("ii", 1, 0)
        peer.writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, linger_for_no_time
        )
        peer.reset()

    async with byte_server(script) as server:
        answer = await connect(server.port).send(request())
        with pytest.raises(UpstreamUnreachable, match="broke off its answer"):
            await read_with(answer, read)


async def test_malformed_answer_closes_the_connection(connect: Connect) -> None:
    async with byte_server(answering(b"<html>")) as server:
        with pytest.raises(UpstreamProtocolError, match=r"something that is not HTTP/1\.1"):
            await connect(server.port).send(request())
        await server.until_closed()


async def test_malformed_body_closes_the_connection(connect: Connect) -> None:
    script = answering(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\nxyz\r\n")
    async with byte_server(script) as server:
        with pytest.raises(UpstreamProtocolError, match="chunked body that cannot be read"):
            await whole(await connect(server.port).send(request()))
        await server.until_closed()


async def test_answer_closed_early_closes_the_connection(connect: Connect) -> None:
    async with byte_server(answering(OK + b"Content-Length: 999999\r\n\r\nabc")) as server:
        answer = await connect(server.port).send(request())
        answer.close()
        answer.close()
        await server.until_closed()

        with pytest.raises(RuntimeError):
            await whole(answer)


async def test_answer_closed_late_leaves_the_connection_to_others(connect: Connect) -> None:
    async with byte_server(answering(sized(b"one"), sized(b"two"))) as server:
        upstream = connect(server.port)
        first = await upstream.send(request())
        second = await upstream.send(request())
        first.close()

        assert (await whole(second), server.accepted) == (b"two", 1)


# The upload.


async def test_body_of_known_length_goes_out_as_it_is(connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        for _ in range(2):
            assert b"Transfer-Encoding" not in await peer.head()
            await peer.send(sized(await peer.exactly(6)))

    async with byte_server(script) as server:
        upstream = connect(server.port)
        for _ in range(2):
            head = request("PUT", b"/", (b"Content-Length", b"6"))
            assert await whole(await upstream.send(head, pieces(b"abc", b"", b"def"))) == b"abcdef"
    assert server.accepted == 1


async def test_body_of_unknown_length_goes_out_chunked(connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        for _ in range(2):
            head = await peer.head()
            assert b"\r\nTransfer-Encoding: chunked\r\n\r\n" in head
            await peer.send(sized(await peer.reader.readuntil(b"0\r\n\r\n")))

    async with byte_server(script) as server:
        upstream = connect(server.port)
        bodies = [
            await whole(await upstream.send(request("POST"), pieces(b"a" * 17, b"", b"bc"))) for _ in range(2)
        ]

    assert bodies == [b"11\r\n" + b"a" * 17 + b"\r\n2\r\nbc\r\n0\r\n\r\n"] * 2
    assert server.accepted == 1


@pytest.mark.parametrize(("length", "word"), [(b"7", "shorter"), (b"5", "longer"), (b"3", "longer")])
async def test_body_of_another_length_never_arrives_whole(connect: Connect, length: bytes, word: str) -> None:
    rest: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.head()
        rest.append(await peer.rest())

    async with byte_server(script) as server:
        head = request("PUT", b"/", (b"Content-Length", length))
        with pytest.raises(BadRequest, match=word):
            await connect(server.port).send(head, pieces(b"abc", b"def"))
        await server.until_closed()
    assert len(rest[0]) != int(length) or length == b"3"


async def test_upload_that_breaks_off_aborts_the_request(connect: Connect) -> None:
    rest: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.head()
        rest.append(await peer.rest())

    async def broken() -> AsyncIterator[bytes]:
        yield b"half a "
        raise ConnectionResetError("the client left")

    async with byte_server(script) as server:
        with pytest.raises(ConnectionResetError, match="the client left"):
            await connect(server.port).send(request("POST"), broken())
        await server.until_closed()
    assert b"0\r\n\r\n" not in rest[0]


async def test_early_answer_stops_the_upload(connect: Connect) -> None:
    stopped = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            yield b"a"
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nabc")

    async with byte_server(script) as server:
        upstream = connect(server.port)
        answer = await upstream.send(request("POST"), endless())

        assert (answer.head.status, stopped.is_set()) == (413, True)
        assert await whole(answer) == b"abc"
        await server.until_closed()


async def test_answer_at_the_last_byte_keeps_the_connection_though_the_client_has_not_told_its_end(
    connect: Connect,
) -> None:
    async def unended() -> AsyncIterator[bytes]:
        yield b"abc"
        await asyncio.Event().wait()

    async def script(peer: Peer) -> None:
        for _ in range(2):
            await peer.head()
            await peer.send(sized(await peer.exactly(3)))

    async with byte_server(script) as server:
        upstream = connect(server.port)
        for _ in range(2):
            head = request("PUT", b"/", (b"Content-Length", b"3"))
            assert await whole(await upstream.send(head, unended())) == b"abc"
    assert server.accepted == 1


async def test_answer_before_the_request_has_left_ends_the_connection(connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(sized(b"%d" % peer.number))

    async with byte_server(script) as server:
        upstream = connect(server.port)
        large = bytes(32 * MEBIBYTE)
        head = request("PUT", b"/", (b"Content-Length", b"%d" % len(large)))
        bodies = [await whole(await upstream.send(head, pieces(large))), await body_of(upstream, request())]

    assert bodies == [b"1", b"2"]


EXPECTING = (b"Expect", b"100-continue")


async def test_body_waits_for_100_continue(connect: Connect) -> None:
    order: list[str] = []

    async def body() -> AsyncIterator[bytes]:
        order.append("body")
        yield b"abc"

    async def script(peer: Peer) -> None:
        await peer.head()
        order.append("100")
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await peer.reader.readuntil(b"0\r\n\r\n")
        await peer.send(sized(b"done"))

    async with byte_server(script) as server:
        answer = await connect(server.port).send(request("POST", b"/", EXPECTING), body())

        assert (order, await whole(answer)) == (["100", "body"], b"done")


async def test_final_answer_instead_of_100_costs_no_body(connect: Connect) -> None:
    async def body() -> AsyncIterator[bytes]:
        raise AssertionError("asked for a body")
        yield b""

    rest: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        rest.append(await peer.rest())

    async with byte_server(script) as server:
        answer = await connect(server.port).send(request("POST", b"/", EXPECTING), body())
        await server.until_closed()
    assert (answer.head.status, rest) == (401, [b""])


async def test_body_goes_out_without_100_after_a_while(connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(sized(await peer.reader.readuntil(b"0\r\n\r\n")))

    async with byte_server(script) as server:
        upstream = connect(server.port, timeouts=Timeouts(expect=0.01))
        answer = await upstream.send(request("POST", b"/", EXPECTING), pieces(b"abc"))

        assert await whole(answer) == b"3\r\nabc\r\n0\r\n\r\n"


# Waiting.

IMPATIENT = Timeouts(read=0.05)


@pytest.mark.parametrize(
    ("sent", "words"),
    [(b"", "did not answer for 0.05 s"), (OK + b"Content-Length: 9\r\n\r\nabc", "went silent in its answer")],
)
async def test_silence_is_given_up(connect: Connect, sent: bytes, words: str) -> None:
    async with byte_server(answering(sent)) as server:
        with pytest.raises(UpstreamTimeout, match=words):
            await whole(await connect(server.port, timeouts=IMPATIENT).send(request()))
        await server.until_closed()


async def test_server_that_takes_no_byte_is_given_up(connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        peer.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(65536)

    async with byte_server(script) as server:
        with pytest.raises(UpstreamTimeout, match="did not answer"):
            await connect(server.port, timeouts=IMPATIENT).send(request("POST"), endless())


async def test_slow_client_is_not_the_servers_silence(connect: Connect) -> None:
    large = bytes(4 * MEBIBYTE)

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.reader.readuntil(b"0\r\n\r\n")
        await peer.send(sized(large))

    async with byte_server(script) as server:
        upstream = connect(server.port)

        def pass_hours() -> None:
            (connection,) = upstream._pool._open
            connection._since -= 7200
            connection._check_silence()

        async def slow() -> AsyncIterator[bytes]:
            yield b"a"
            pass_hours()
            yield b"b"

        answer = await upstream.send(request("POST"), slow())
        received = 0
        async for chunk in chunks(answer):
            received += len(chunk)
            if answer._paused:
                pass_hours()

    assert received == len(large)


@pytest.mark.parametrize("with_body", [False, True])
async def test_cancelled_request_closes_its_connection(connect: Connect, with_body: bool) -> None:
    asked = asyncio.Event()
    stopped = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            yield b"a"
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async def script(peer: Peer) -> None:
        await peer.head()
        asked.set()

    async with byte_server(script) as server:
        body = endless() if with_body else None
        sending = asyncio.create_task(connect(server.port).send(request("POST"), body))
        await asked.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await server.until_closed()
    assert stopped.is_set() is with_body


async def test_cancellation_at_the_moment_of_the_answer_leaves_the_connection_to_others(
    connect: Connect,
) -> None:
    async with byte_server(answering(sized(b"none"), sized(b"one"), sized(b"two"))) as server:
        upstream = connect(server.port)
        await body_of(upstream, request())
        (connection,) = upstream._pool._open

        class CancelsFirst:
            def keep(self, free: Connection) -> None:
                connection._keeper = upstream._pool.idle
                connection._keeper.keep(free)
                first.cancel()

        connection._keeper = CancelsFirst()
        first = asyncio.create_task(upstream.send(request()))
        with pytest.raises(asyncio.CancelledError):
            await first

        assert (await whole(await upstream.send(request())), server.accepted) == (b"two", 1)


# Back-pressure.


async def test_download_keeps_within_its_bound(connect: Connect) -> None:
    block = bytes(range(256)) * 256
    count = 512

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(OK + b"Content-Length: %d\r\n\r\n" % (count * len(block)), *[block] * count)

    digest = hashlib.sha256()
    waiting: list[int] = []
    async with byte_server(script) as server:
        answer = await connect(server.port).send(request())
        async for chunk in chunks(answer):
            digest.update(chunk)
            waiting.append(answer._size)

    assert digest.digest() == hashlib.sha256(block * count).digest()
    assert max(waiting) <= 2 * HIGH_WATER


async def test_unread_answer_stops_the_server(connect: Connect) -> None:
    stuck = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(OK + b"Content-Length: %d\r\n\r\n" % (64 * MEBIBYTE))
        for _ in range(64):
            peer.writer.write(bytes(MEBIBYTE))
            try:
                async with asyncio.timeout(0.2):
                    await peer.writer.drain()
            except TimeoutError:
                stuck.set()
                await peer.writer.drain()

    async with byte_server(script) as server:
        answer = await connect(server.port).send(request())
        await stuck.wait()

        assert answer._size <= 2 * HIGH_WATER
        assert len(await whole(answer)) == 64 * MEBIBYTE


async def test_upload_is_not_read_faster_than_the_server_takes_it(connect: Connect) -> None:
    total = 48 * MEBIBYTE
    given = 0
    taken = 0
    ahead = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal given, ahead
        piece = bytes(65536)
        while given < total:
            given += len(piece)
            ahead = max(ahead, given - taken)
            yield piece

    async def script(peer: Peer) -> None:
        nonlocal taken
        await peer.head()
        while taken < total:
            taken += len(await peer.reader.read(65536))
        await peer.send(sized(b"done"))

    async with byte_server(script) as server:
        head = request("PUT", b"/", (b"Content-Length", b"%d" % total))
        answer = await connect(server.port).send(head, body())

        assert await whole(answer) == b"done"
    # What the system's socket buffers of both sides hold is theirs: some MiB at most.
    assert ahead < 24 * MEBIBYTE
