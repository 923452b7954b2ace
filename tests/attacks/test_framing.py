"""Threat model 3.4: messages that two readers would cut in different places, from the tool and from the server."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from ..fakes.byte_server import Peer
from .ground import (
    HEALTHY,
    OK,
    PATIENT,
    SEARCH,
    TOKEN,
    assert_carried,
    assert_is_ours,
    assert_refused,
    get,
    ground,
    head,
)

SMUGGLED = b"GET /Patient/smuggled HTTP/1.1\r\nHost: %h\r\n\r\n"

# F1: what frames a request's body ------------------------------------------------------------------------------------

AMBIGUOUS = [
    b"Content-Length: 14\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nContent-Length: 14",
    b"Content-Length: 0\r\nTransfer-Encoding: chunked",
    b"Content-Length: 14\r\ntransfer-encoding: identity",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked, chunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: identity, chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: gzip",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunkedx",
    b"Transfer-Encoding: chunked;x=1",
    b"Transfer-Encoding: 'chunked'",
    b'Transfer-Encoding: "chunked"',
    b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding: chunked\x00",
    b"Transfer-Encoding: ch\xfcnked",
    b"Transfer-Encoding:",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding\t: chunked",
    b" Transfer-Encoding: chunked",
    b"X: y\r\n Transfer-Encoding: chunked",
    b"X: y\nTransfer-Encoding: chunked",
    b"X: y\rTransfer-Encoding: chunked",
    b"Transfer-Encoding:\r\n chunked",
    b"Transfer\x00-Encoding: chunked",
    b"Content-Length: 14\r\nContent-Length: 14",
    b"Content-Length: 14\r\nContent-Length: 0",
    b"Content-Length: 0\r\nContent-Length: 14",
    b"content-length: 14\r\nCONTENT-LENGTH: 15",
    b"Content-Length: 14, 14",
    b"Content-Length: 14, 0",
    b"Content-Length: +14",
    b"Content-Length: -1",
    b"Content-Length: -0",
    b"Content-Length: 0x0e",
    b"Content-Length: 1_4",
    b"Content-Length: 1 4",
    b"Content-Length: 14a",
    b"Content-Length: 14.0",
    b"Content-Length: 1e1",
    b"Content-Length: \xc2\xb2",
    b'Content-Length: "14"',
    b"Content-Length:",
    b"Content-Length: 18446744073709551630",
    b"Content-Length: 99999999999999999999999999",
    b"Content-Length : 14",
    b"Content-Length\x0b: 14",
    b" Content-Length: 14",
    b"X: y\nContent-Length: 14",
]


@pytest.mark.parametrize("lines", AMBIGUOUS, ids=repr)
async def test_body_of_two_readings_reaches_no_one(lines: bytes) -> None:
    await assert_refused(head(b"POST", b"/Patient", lines) + SMUGGLED, 400)


@pytest.mark.parametrize("lines", AMBIGUOUS, ids=repr)
async def test_what_follows_it_on_the_connection_is_no_request(lines: bytes) -> None:
    request = b"POST /Patient HTTP/1.1\r\nHost: %h\r\n" + lines + b"\r\n\r\n0\r\n\r\n" + SMUGGLED
    await assert_refused(request, 400)


async def test_names_that_only_look_like_framing_frame_nothing() -> None:
    # A server that reads `_` as `-` (CGI) never sees them, and the body is what the true fields say.
    lines = (b"Transfer_Encoding: chunked", b"Content_Length: 0", b"Content-Length: 14")
    async with ground() as here:
        (answer,) = await here.ask(head(b"POST", b"/Patient", *lines) + b"%x")

        assert (answer.status, here.upstream.bodies) == (200, [PATIENT.encode()])
        assert await here.is_healthy()


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE"])
async def test_body_of_a_get_is_no_second_request(method: bytes) -> None:
    body = SMUGGLED.replace(b"%h", b"x" * 9)
    async with ground() as here:
        answers = await here.ask(head(method, b"/Patient", b"Content-Length: %d" % len(body)) + body)

        assert len(answers) == 1
        assert here.upstream.lines in ([], [method + b" /fhir/Patient"])
        assert await here.is_healthy()


# F2: chunks ----------------------------------------------------------------------------------------------------------

CHUNKS = [
    b"0xe\r\n%x\r\n0\r\n\r\n",
    b"+e\r\n%x\r\n0\r\n\r\n",
    b"-1\r\n%x\r\n0\r\n\r\n",
    b"1_0\r\n%xxx\r\n0\r\n\r\n",
    b" e\r\n%x\r\n0\r\n\r\n",
    b"e\n%x\r\n0\r\n\r\n",
    b"e\r%x\r\n0\r\n\r\n",
    b"e\r\n%x\n0\r\n\r\n",
    b"e\r\n%x0\r\n\r\n",
    b"e\r\n%xyz\r\n0\r\n\r\n",
    b"d\r\n%x\r\n0\r\n\r\n",
    b"\r\n%x\r\n0\r\n\r\n",
    b"g\r\n%x\r\n0\r\n\r\n",
    b"1000000000000000e\r\n%x\r\n0\r\n\r\n",
    b"e;x\n=y\r\n%x\r\n0\r\n\r\n",
    b"e;x\r=y\r\n%x\r\n0\r\n\r\n",
    b"e;\x00\r\n%x\r\n0\r\n\r\n",
    b"e\x0b\r\n%x\r\n0\r\n\r\n",
    b"e, 5\r\n%x\r\n0\r\n\r\n",
    b"e\r\n%x\r\n0\r\nX: y\nZ: z\r\n\r\n",
    b"e\r\n%x\r\n0\r\n X: y\r\n\r\n",
    b"e\r\n%x\r\n0\r\nX\x00: y\r\n\r\n",
    b"e\r\n%x\r\n0\r\nContent-Length: 5\r\n\r\n",
]


@pytest.mark.parametrize("body", CHUNKS, ids=repr)
@pytest.mark.parametrize("media_type", [b"application/fhir+json", b"application/pdf"])
async def test_broken_chunks_never_make_a_whole_request(body: bytes, media_type: bytes) -> None:
    lines = (b"Transfer-Encoding: chunked", b"Content-Type: " + media_type)
    async with ground() as here:
        answers = await here.ask(head(b"POST", b"/Patient", *lines) + body + SMUGGLED)

        assert [answer.status for answer in answers] in ([400], [])
        assert here.upstream.bodies == []
        assert b"smuggled" not in b"".join(here.upstream.lines)
        assert await here.is_healthy()


PLAIN_CHUNKS = [
    b"e\r\n%x\r\n0\r\n\r\n",
    b"E\r\n%x\r\n0\r\n\r\n",
    b"000e\r\n%x\r\n000\r\n\r\n",
    b"7\r\nZimmerm\r\n7\r\nann1951\r\n0\r\n\r\n",
    b"e;x=y\r\n%x\r\n0;z\r\n\r\n",
    b"e\r\n%x\r\n0\r\nX-Trailer: evil\r\nAuthorization: evil\r\n\r\n",
]


@pytest.mark.parametrize("body", PLAIN_CHUNKS, ids=repr)
async def test_chunks_are_written_anew(body: bytes) -> None:
    async with ground() as here:
        (answer,) = await here.ask(head(b"POST", b"/Patient", b"Transfer-Encoding: chunked") + body)

        assert (answer.status, here.upstream.bodies) == (200, [PATIENT.encode()])
        assert not any(b"evil" in value for _, value in here.upstream.requests[0].fields.lines)
        assert await here.is_healthy()


# F3: the request line and the fields ---------------------------------------------------------------------------------

LINES = [
    b"X: a\rX-Evil: b",
    b"X: a\nX-Evil: b",
    b"X: a\r\n X-Evil: b",
    b"X: a\r\n\tX-Evil: b",
    b"X: a\x00b",
    b"X: a\x01b",
    b"X: a\x1b[31mb",
    b"X: a\x7fb",
    b"X\x00Y: a",
    b"X Y: a",
    b"X : a",
    b"X\r: a",
    b": a",
    b"X",
    b"X\xfc: a",
    b"(X): a",
    b"X;Y: a",
    b'"X": a',
    b"@: a",
    b"Accept: a\r\rX-Evil: b",
]


@pytest.mark.parametrize("line", LINES, ids=repr)
async def test_line_of_two_readings_reaches_no_one(line: bytes) -> None:
    await assert_refused(get(b"/Patient?name=%x", line), 400)


FIRST_LINES = [
    b"GET /Patient",
    b"GET /Patient HTTP/0.9",
    b"GET /Patient HTTP/1.2",
    b"GET /Patient HTTP/2.0",
    b"GET /Patient HTTP/1",
    b"GET /Patient HTTP/1.10",
    b"GET /Patient HTTP/01.1",
    b"GET /Patient http/1.1",
    b"GET /Patient HTTPS/1.1",
    b"GET /Patient ICE/1.0",
    b"GET /Patient HTTP/1.1 x",
    b"GET /Patient HTTP /1.1",
    b"GET /Patient x HTTP/1.1",
    b"GET\t/Patient\tHTTP/1.1",
    b"GET /Pat\tient HTTP/1.1",
    b"GET /Pat\x00ient HTTP/1.1",
    b"GET /Pat\rient HTTP/1.1",
    b"GET /Pat\x1bient HTTP/1.1",
    b" GET /Patient HTTP/1.1",
    b"\x00GET /Patient HTTP/1.1",
    b"HTTP/1.1 200 OK",
    b'{"resourceType":"Patient","name":"%x"}',
]


@pytest.mark.parametrize("line", FIRST_LINES, ids=repr)
async def test_request_line_of_two_readings_reaches_no_one(line: bytes) -> None:
    await assert_refused(line + b"\r\nHost: %h\r\nConnection: close\r\n\r\n", 400, 405)


@pytest.mark.parametrize("line", [b"GET /Patient?name=%x HTTP/1.0", b"GET /fhir/Patient?name=%x HTTP/1.0"])
async def test_http_1_0_is_served_and_closed(line: bytes) -> None:
    await assert_carried(line + b"\r\nHost: %h\r\n\r\n", SEARCH)


async def test_http_1_0_gets_no_chunks() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    async with ground(chunked) as here:
        raw = await here.send(b"GET /Patient HTTP/1.0\r\nHost: %h\r\n\r\n")

        assert b"ransfer-" not in raw
        assert raw.endswith(b"\r\n\r\nok")
        assert await here.is_healthy()


async def test_http_1_0_without_host_reaches_no_one() -> None:
    await assert_refused(b"GET /Patient HTTP/1.0\r\n\r\n", 400)


@pytest.mark.parametrize(
    "preamble", [b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01", b"SSH-2.0-x\r\n"]
)
async def test_other_protocol_reaches_no_one(preamble: bytes) -> None:
    await assert_refused(preamble + get(), 400)


# F4: uploads that break off ------------------------------------------------------------------------------------------

UPLOADS = [
    (b"Content-Length: 14", b"%x"),
    (b"Transfer-Encoding: chunked", b"7\r\nZimmerm\r\n7\r\nann1951\r\n0\r\n\r\n"),
    (
        b"Transfer-Encoding: chunked\r\nContent-Type: application/fhir+json",
        b"7\r\nZimmerm\r\n7\r\nann1951\r\n0\r\n\r\n",
    ),
]


@pytest.mark.parametrize(("lines", "body"), UPLOADS, ids=repr)
async def test_upload_that_breaks_off_is_never_stored(lines: bytes, body: bytes) -> None:
    async with ground() as here:
        whole = here.filled(body)
        for cut in range(len(whole)):
            reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
            writer.write(here.filled(head(b"POST", b"/Patient", lines)) + whole[:cut])
            writer.write_eof()
            await asyncio.wait_for(reader.read(), 20)
            writer.transport.abort()

            assert here.upstream.bodies == []
        assert await here.is_healthy()


# F5: answers that break off ------------------------------------------------------------------------------------------

BUNDLE = b'{"resourceType":"Bundle","entry":[{"fullUrl":"http://127.0.0.1/Patient/1"}]}'
JSON = b"Content-Type: application/fhir+json\r\n"
_packed = gzip.compress(BUNDLE, mtime=0)
CUT = {
    "length": b"Content-Length: %d\r\n\r\n%b" % (len(BUNDLE), BUNDLE),
    "length rewritten": JSON + b"Content-Length: %d\r\n\r\n%b" % (len(BUNDLE), BUNDLE),
    "chunked": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BUNDLE), BUNDLE),
    "chunked rewritten": JSON
    + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BUNDLE), BUNDLE),
    "gzip": b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(_packed), _packed),
    "gzip rewritten": JSON
    + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
    % (len(_packed), _packed),
    "gzip to the end": JSON + b"Content-Encoding: gzip\r\n\r\n" + _packed,
}


@pytest.mark.parametrize("kind", CUT)
async def test_answer_that_breaks_off_is_never_whole(kind: str) -> None:
    whole = b"HTTP/1.1 200 OK\r\n" + CUT[kind]
    body_begins = whole.index(b"\r\n\r\n") + 4
    # Without a length the end of the connection is the end of the body, which may be empty: only gzip's own end
    # tells a cut.
    ends = [*range(0, body_begins, 7), *range(body_begins + 1, len(whole), 3), len(whole) - 1]
    async with ground() as here:
        for end in [*ends, len(whole)]:

            async def cut(peer: Peer, piece: bytes = whole[:end]) -> None:
                await peer.send(piece)
                peer.close()

            here.upstream.reply = cut
            answers = await here.ask(get())
            served = [answer for answer in answers if answer.status == 200 and answer.is_whole]
            assert len(served) == (end == len(whole)), end
            for answer in answers:
                if answer.status != 200:
                    assert answer.status == 502
                    assert_is_ours(answer)
        assert await here.is_healthy()


# F6: surplus bytes never answer the next request ---------------------------------------------------------------------

SURPLUS = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npatient A"
EVIL = [
    SURPLUS,
    b"\r\n" + SURPLUS,
    b"\n",
    b"x",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Le",
]
FIRST = [
    OK,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n",
]


@pytest.mark.parametrize("surplus", EVIL, ids=repr)
@pytest.mark.parametrize("first", FIRST, ids=repr)
async def test_surplus_that_comes_with_an_answer_is_nobodys(first: bytes, surplus: bytes) -> None:
    async with ground(first + surplus) as here:
        (answer,) = await here.ask(get())

        assert b"patient A" not in answer.body
        assert await here.is_healthy()


@pytest.mark.parametrize("surplus", EVIL, ids=repr)
async def test_surplus_that_comes_on_an_idle_connection_is_nobodys(surplus: bytes) -> None:
    speak, spoken = asyncio.Event(), asyncio.Event()

    async def reply(peer: Peer) -> None:
        await peer.send(OK)
        await speak.wait()
        await peer.send(surplus)
        spoken.set()

    async with ground(reply) as here:
        (answer,) = await here.ask(get())
        assert answer.body == b"ok"
        speak.set()
        await spoken.wait()
        for _ in range(3):
            assert await here.is_healthy()


async def test_surplus_that_crosses_with_the_next_request_is_nobodys() -> None:
    # The moment between: the bytes are in the kernel, and the event loop has not seen them when the next
    # request takes the connection. All of it happens in one loop here, so the server writes without a pause.
    async with ground() as here:
        peers: list[Peer] = []

        async def reply(peer: Peer) -> None:
            peers.append(peer)
            await peer.send(OK)

        here.upstream.reply = reply
        for _ in range(20):
            (answer,) = await here.ask(get())
            assert answer.body == b"ok"
            sending = asyncio.ensure_future(here.ask(get(b"/Patient/healthy")))
            peers[-1].writer.transport.write(SURPLUS)
            (answer,) = await sending
            assert answer.body == b"ok"
        assert await here.is_healthy()


# F7: answers that are none -------------------------------------------------------------------------------------------

ANSWERS = [
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"<html>HTTP/0.9 has no head</html>\r\n\r\n",
    b"\r\n\r\n",
    b"\x15\x03\x01\x00\x02\x02\x50",
    b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 9999 No\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 600 No\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 -200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    b"ICY 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 0\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: evil\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: evil\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX y: a\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n: a\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n X: a\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 \x1b]0;evil\x07\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 100 \x1b[2J\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000,
    b"HTTP/1.1 103 Early Hints\r\nLink: </evil>\r\n\r\n" * 3_000,
]


@pytest.mark.parametrize("reply", ANSWERS, ids=lambda reply: repr(reply[:70]))
@pytest.mark.parametrize("ending", ["stays", "closes"])
async def test_answer_that_is_none_is_told_as_an_error(reply: bytes, ending: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(reply)
        if ending == "closes":
            peer.close()

    async with ground(script) as here:
        (answer,) = await here.ask(get())

        assert answer.status == 502
        assert_is_ours(answer)
        assert here.upstream.lines == [SEARCH]
        assert await here.is_healthy()


ODD = [
    # Answers whose head is odd and clear: the body is what the rules of RFC 9112 section 6.3 say.
    (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204, b""),
    (b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", 304, b""),
    (b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
    (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK, 200, b"ok"),
    (b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"ok"),
    (b"HTTP/1.1 200 OK\r\nX-Long: " + b"y" * 30_000 + b"\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\nSet-Cookie: evil\r\n\r\n",
        200,
        b"ok",
    ),
    (b"HTTP/1.1 299 Odd\r\nX-\xe4: y\r\nContent-Length: 2\r\n\r\nok", None, b""),
]


@pytest.mark.parametrize(("reply", "status", "body"), ODD, ids=lambda value: repr(value)[:70])
async def test_odd_and_clear_answer_is_passed_well_formed(
    reply: bytes, status: int | None, body: bytes
) -> None:
    async with ground(reply) as here:
        (answer,) = await here.ask(get())

        if status is None:
            assert answer.status == 502
        else:
            assert (answer.status, answer.body, answer.is_whole) == (status, body, True)
            assert answer.field("Set-Cookie") is None
        assert await here.is_healthy()


INJECTED = [
    b"Location: http://%u/fhir/Patient/1\x0bX: y",
    b'ETag: W/"\x7f"',
    b"Content-Location: \x1b]0;evil\x07",
]


@pytest.mark.parametrize("line", INJECTED, ids=repr)
async def test_control_characters_of_the_server_reach_no_tool(line: bytes) -> None:
    async with ground() as here:
        here.upstream.reply = here.filled(b"HTTP/1.1 200 OK\r\n" + line + b"\r\nContent-Length: 2\r\n\r\nok")
        (answer,) = await here.ask(get())

        assert answer.status == 502
        assert not any(byte in repr(answer) for byte in ("\x0b", "\x1b", "\x07", "\x7f", "\0"))
        assert await here.is_healthy()


# F8: nothing is sent twice that may not be ---------------------------------------------------------------------------


@pytest.mark.parametrize("target", [b"/Patient", b"/", b"/Patient/$match"])
@pytest.mark.parametrize("warm", [False, True])
async def test_post_is_never_sent_twice(target: bytes, warm: bool) -> None:
    async def reset(peer: Peer) -> None:
        peer.reset()

    async with ground() as here:
        if warm:
            assert await here.is_healthy()
        here.upstream.reply = reset
        (answer,) = await here.ask(head(b"POST", target, b"Content-Length: 14") + b"%x")

        assert answer.status == 502
        assert_is_ours(answer)
        assert len(here.upstream.lines) == 1
        assert await here.is_healthy()


# Controls ------------------------------------------------------------------------------------------------------------


async def test_pipelined_requests_are_answered_in_order() -> None:
    async def reply(peer: Peer) -> None:
        target = here.upstream.requests[-1].target
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))

    async with ground(reply) as here:
        first = b"GET /Patient/1 HTTP/1.1\r\nHost: %h\r\n\r\n"
        second = b"POST /Patient HTTP/1.1\r\nHost: %h\r\nContent-Length: 14\r\n\r\n%x"
        answers = await here.ask(first + second + get(b"/Patient/3"))

        assert [answer.body for answer in answers] == [
            b"/fhir/Patient/1",
            b"/fhir/Patient",
            b"/fhir/Patient/3",
        ]
        assert await here.is_healthy()


@pytest.mark.parametrize("size", [1, 3, 64])
async def test_request_in_small_pieces_is_one_request(size: int) -> None:
    async with ground() as here:
        whole = here.filled(head(b"POST", b"/Patient", b"Transfer-Encoding: chunked") + PLAIN_CHUNKS[3])
        pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
        (answer,) = await here.ask(*pieces)

        assert (answer.status, here.upstream.bodies) == (200, [PATIENT.encode()])


@pytest.mark.parametrize("size", [1, 5])
async def test_answer_in_small_pieces_is_one_answer(size: int) -> None:
    whole = b"HTTP/1.1 200 OK\r\n" + CUT["gzip rewritten"]

    async def reply(peer: Peer) -> None:
        await peer.send(*(whole[start : start + size] for start in range(0, len(whole), size)))

    async with ground(reply) as here:
        (answer,) = await here.ask(get())

        assert (answer.status, answer.body, answer.is_whole) == (200, BUNDLE, True)
        assert await here.is_healthy()


async def test_expectation_is_met() -> None:
    async with ground() as here:
        request = head(b"POST", b"/Patient", b"Content-Length: 14", b"Expect: 100-continue")
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        writer.write(here.filled(request))
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(PATIENT.encode())
        assert (await asyncio.wait_for(reader.read(), 20)).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.transport.abort()

        assert here.upstream.bodies == [PATIENT.encode()]
        assert TOKEN.encode() in here.upstream.requests[0].fields.all(b"authorization")[0]
        assert HEALTHY not in [request.target for request in here.upstream.requests]


async def test_other_expectation_is_not_waited_for() -> None:
    async with ground() as here:
        request = head(b"POST", b"/Patient", b"Content-Length: 14", b"Expect: 200-ok") + b"%x"
        answers = await here.ask(request)

        assert [answer.status for answer in answers] in ([200], [417])
        assert await here.is_healthy()
