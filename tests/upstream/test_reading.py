from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import UpstreamProtocolError
from proxy.upstream.reading import MAX_BARREN_BYTES, MAX_HEAD_BYTES, ResponseReader


@dataclass
class Read:
    """What came out of a response."""

    status: int
    reason: bytes
    lines: tuple[tuple[bytes, bytes], ...]
    body: bytes
    complete: bool
    persistent: bool


def read(*pieces: bytes, method: str = "GET", eof: bool = False) -> Read:
    reader = ResponseReader(method, "fhir.example")
    body = b"".join([reader.feed(piece) for piece in pieces])
    if eof:
        reader.feed_eof()
    assert reader.head is not None
    head = reader.head
    return Read(head.status, head.reason, head.fields.lines, body, reader.complete, reader.persistent)


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


OK = b"HTTP/1.1 200 OK\r\n"

# name: (method, response, ended by the connection's end, body, persistent)
COMPLETE: dict[str, tuple[str, bytes, bool, bytes, bool]] = {
    "length": ("GET", OK + b"Content-Length: 3\r\n\r\nabc", False, b"abc", True),
    "length zero": ("GET", OK + b"Content-Length: 0\r\n\r\n", False, b"", True),
    "length with leading zeros": ("GET", OK + b"Content-Length: 003\r\n\r\nabc", False, b"abc", True),
    "no reason": ("GET", b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\na", False, b"a", True),
    "chunked": ("GET", OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\nA\r\n0123456789\r\n0\r\n\r\n", False,
                b"a0123456789", True),
    "chunked, other case": ("GET", OK + b"transfer-encoding: Chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", False, b"a", True),
    "chunk extension": ("GET", OK + b"Transfer-Encoding: chunked\r\n\r\n1;x=y\r\na\r\n0\r\n\r\n", False, b"a", True),
    "trailers are dropped": ("GET", OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nT: u\r\n\r\n", False,
                             b"a", True),
    "empty chunked": ("GET", OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", False, b"", True),
    "body that looks like the end": ("GET", OK + b"Transfer-Encoding: chunked\r\n\r\n"
                                     b"7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n", False, b"0\r\n\r\n\r\n", True),
    "until the connection's end": ("GET", OK + b"\r\nabc", True, b"abc", False),
    "until the connection's end, empty": ("GET", OK + b"\r\n", True, b"", False),
    "HTTP/1.0": ("GET", b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", False, b"a", False),
    "HTTP/1.0, kept alive": ("GET", b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\na", False,
                             b"a", True),
    "Connection: close": ("GET", OK + b"Connection: x, Close\r\nContent-Length: 1\r\n\r\na", False, b"a", False),
    "Connection: close, chunked": ("GET", OK + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
                                   b"1\r\na\r\n0\r\n\r\n", False, b"a", False),
    "HEAD with length": ("HEAD", OK + b"Content-Length: 3\r\n\r\n", False, b"", True),
    "HEAD chunked": ("HEAD", OK + b"Transfer-Encoding: chunked\r\n\r\n", False, b"", True),
    "HEAD without framing": ("HEAD", OK + b"\r\n", False, b"", True),
    "204": ("DELETE", b"HTTP/1.1 204 No Content\r\n\r\n", False, b"", True),
    "304 with length": ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", False, b"", True),
    "100 before": ("PUT", b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\na", False, b"a", True),
    "103 and 100 before": ("GET", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
                           + OK + b"Content-Length: 1\r\n\r\na", False, b"a", True),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPLETE)
def test_response_is_read_whole_bytewise_and_cut_anywhere(name: str) -> None:
    method, data, eof, body, persistent = COMPLETE[name]
    cuts = [[data], *([data[:i], data[i:]] for i in range(1, len(data)))]

    whole = [read(*pieces, method=method, eof=eof) for pieces in cuts]
    bytes_alone = read(*bytewise(data), method=method, eof=eof)

    assert (whole[0].body, whole[0].complete, whole[0].persistent) == (body, True, persistent)
    for result in [*whole[1:], bytes_alone]:
        # Where the cut hides how a chunked body ended the connection is given up: never the other way round.
        result.persistent = result.persistent or whole[0].persistent
        assert result == whole[0]


# What may follow an answer on the connection without being asked for.
SURPLUS = [b"\r\n", b"\n", b"x", OK + b"Content-Length: 1\r\n\r\nb", b"HTTP/1.1 100 Continue\r\n\r\n", b"\0"]


@pytest.mark.parametrize("surplus", SURPLUS)
@pytest.mark.parametrize("name", [name for name, case in COMPLETE.items() if not case[2]])
def test_surplus_bytes_end_the_connection_and_not_the_answer(name: str, surplus: bytes) -> None:
    method, data, _, body, _ = COMPLETE[name]
    cuts = [[data + surplus], *([data[:i], data[i:] + surplus] for i in range(1, len(data)))]

    for pieces in cuts:
        result = read(*pieces, method=method)
        assert (result.body, result.complete, result.persistent) == (body, True, False)


TRUNCATED = {
    "length": OK + b"Content-Length: 3\r\n\r\nab",
    "length, no byte": OK + b"Content-Length: 3\r\n\r\n",
    "chunked, in a chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nab",
    "chunked, before the last chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
    "chunked, in the last chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n",
    "chunked, in the trailers": OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nT: u\r\n",
}


@pytest.mark.parametrize("name", TRUNCATED)
def test_cut_body_is_not_complete(name: str) -> None:
    assert not read(TRUNCATED[name], eof=True).complete


@pytest.mark.parametrize("data", [b"", b"HTTP", OK, OK + b"A: b\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_cut_head_is_no_response(data: bytes) -> None:
    reader = ResponseReader("GET", "fhir.example")

    reader.feed(data)

    assert (reader.feed_eof(), reader.head) == (False, None)


REFUSED = {
    "HTTP/0.9": b"<html>patient</html>",
    "another protocol": b"SSH-2.0-OpenSSH\r\n",
    "RTSP": b"RTSP/1.0 200 OK\r\n\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\n\r\n",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\n\r\n",
    "HTTP/0.9 by name": b"HTTP/0.9 200 OK\r\n\r\n",
    "lower case": b"http/1.1 200 OK\r\n\r\n",
    "empty line first": b"\r\n" + OK + b"\r\n",
    "101": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "101 without Upgrade": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "status 600": b"HTTP/1.1 600 Odd\r\n\r\n",
    "status 999": b"HTTP/1.1 999 Odd\r\n\r\n",
    "status 099": b"HTTP/1.1 099 Odd\r\n\r\n",
    "status in words": b"HTTP/1.1 abc OK\r\n\r\n",
    "length and chunked": OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "the same length twice": OK + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "list of lengths": OK + b"Content-Length: 3, 3\r\n\r\nabc",
    "negative length": OK + b"Content-Length: -3\r\n\r\nabc",
    "signed length": OK + b"Content-Length: +3\r\n\r\nabc",
    "hexadecimal length": OK + b"Content-Length: 0x3\r\n\r\nabc",
    "length with an underscore": OK + b"Content-Length: 1_0\r\n\r\nabc",
    "empty length": OK + b"Content-Length: \r\n\r\nabc",
    "huge length": OK + b"Content-Length: 9999999999999999999\r\n\r\nabc",
    "unknown coding": OK + b"Transfer-Encoding: gzip\r\n\r\nabc",
    "coding before chunked": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding after chunked": OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "identity": OK + b"Transfer-Encoding: identity\r\n\r\nabc",
    "chunked with a tail": OK + b"Transfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "unknown coding on 204": b"HTTP/1.1 204 None\r\nTransfer-Encoding: gzip\r\n\r\n",
    "line feed alone": b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc",
    "line feed after a field": OK + b"A: b\nContent-Length: 0\r\n\r\n",
    "carriage return in a value": OK + b"A: b\rc\r\n\r\n",
    "NUL in a value": OK + b"A: b\0c\r\n\r\n",
    "NUL in the reason": b"HTTP/1.1 200 O\0K\r\n\r\n",
    "control character in a value": OK + b"A: b\x01c\r\n\r\n",
    "folded field": OK + b"A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "space before the colon": OK + b"Content-Length : 3\r\n\r\nabc",
    "no name": OK + b": b\r\n\r\n",
    "no colon": OK + b"abc\r\n\r\n",
    "head too long": OK + b"A: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n",
    "head too long, no end": OK + b"A: " + b"a" * MAX_HEAD_BYTES,
    "too many interim responses": b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_HEAD_BYTES // 25 + 1),
    "chunk size in words": OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "chunk size with 0x": OK + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
    "negative chunk size": OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\na\r\n0\r\n\r\n",
    "huge chunk size": OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"F" * 17 + b"\r\na",
    "chunk longer than told": OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    "chunk line with LF alone": OK + b"Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
    "endless chunk extension": OK + b"Transfer-Encoding: chunked\r\n\r\n1;x=" + b"y" * (MAX_BARREN_BYTES + 1),
    "endless trailers": OK
    + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"
    + b"T: u\r\n" * (MAX_BARREN_BYTES // 5),
}


@pytest.mark.parametrize("split", [False, True], ids=["whole", "in pieces"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_can_be_read_in_two_ways_is_refused(name: str, split: bool) -> None:
    data = REFUSED[name]
    pieces = bytewise(data) if split and len(data) < 1000 else [data[:40], data[40:]] if split else [data]
    reader = ResponseReader("GET", "fhir.example")

    with pytest.raises(UpstreamProtocolError, match=r"^fhir\.example sent ") as caught:
        b"".join(map(reader.feed, pieces))
    assert "patient" not in str(caught.value)


def test_field_of_32_kib_passes() -> None:
    value = b"a" * 32 * 1024

    result = read(OK + b"Link: " + value + b"\r\nContent-Length: 0\r\n\r\n")

    assert result.lines[0] == (b"Link", value)


def test_fields_keep_order_spelling_and_octets() -> None:
    result = read(OK + b'ETag: W/"1"\r\nx-A:  b\xff c \t\r\nX-A:\r\nContent-Length: 0\r\n\r\n')

    expected = ((b"ETag", b'W/"1"'), (b"x-A", b"b\xff c"), (b"X-A", b""), (b"Content-Length", b"0"))
    assert result.lines == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"timeout=5", 5.0),
        (b"max=10, Timeout=15", 15.0),
        (b"timeout=x", None),
        (b"timeout", None),
        (b"", None),
    ],
)
def test_server_tells_how_long_it_keeps_a_connection(value: bytes, expected: float | None) -> None:
    reader = ResponseReader("GET", "fhir.example")

    reader.feed(OK + b"Keep-Alive: " + value + b"\r\nContent-Length: 0\r\n\r\n")

    assert reader.idle_limit == expected


NAMES = st.from_regex(rb"\AX-[A-Za-z0-9-]{1,12}\Z")
VALUES = st.binary(max_size=40).map(lambda value: bytes(b for b in value if b >= 32 and b != 127).strip(b" "))
BODIES = st.lists(st.binary(min_size=1, max_size=60), max_size=6)


@given(
    status=st.sampled_from([200, 201, 202, 400, 404, 503, 599]),
    lines=st.lists(st.tuples(NAMES, VALUES), max_size=5),
    chunks=BODIES,
    framing=st.sampled_from(["length", "chunked", "end"]),
    interim=st.integers(0, 2),
    cuts=st.lists(st.integers(0, 600), max_size=12),
)
def test_any_split_gives_the_same_response(
    status: int,
    lines: list[tuple[bytes, bytes]],
    chunks: list[bytes],
    framing: str,
    interim: int,
    cuts: list[int],
) -> None:
    body = b"".join(chunks)
    own = {
        "length": [(b"Content-Length", b"%d" % len(body))],
        "chunked": [(b"Transfer-Encoding", b"chunked")],
        "end": [],
    }[framing]
    sent = body
    if framing == "chunked":
        sent = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    fields = tuple(lines + own)
    data = b"HTTP/1.1 100 Continue\r\n\r\n" * interim + b"HTTP/1.1 %d Because\r\n" % status
    data += b"".join(b"%b: %b\r\n" % line for line in fields) + b"\r\n" + sent
    edges = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    pieces = [data[start:end] for start, end in pairwise(edges)]

    result = read(*pieces, eof=framing == "end")

    assert (result.status, result.reason, result.lines) == (status, b"Because", fields)
    assert (result.body, result.complete) == (body, True)


@given(data=st.binary(max_size=300), method=st.sampled_from(["GET", "HEAD"]))
def test_any_bytes_are_a_response_or_refused(data: bytes, method: str) -> None:
    reader = ResponseReader(method, "fhir.example")
    try:
        reader.feed(b"HTTP/1.1 200 OK\r\n" + data)
    except UpstreamProtocolError:
        assert not reader.complete
    else:
        assert reader.head is not None or not reader.complete
