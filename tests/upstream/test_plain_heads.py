"""A head that is read without llhttp is read as llhttp reads it."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from proxy.errors import UpstreamProtocolError
from proxy.upstream import reading
from proxy.upstream.reading import ResponseReader

NAMES = st.sampled_from(
    [
        "A",
        "x-y",
        "Content-Length",
        "content-length",
        "Connection",
        "Keep-Alive",
        "Transfer-Encoding",
        "Upgrade",
    ]
) | st.text("aZ0-_.!#$%&'*+^`|~ :\"(\t", max_size=4)
VALUES = st.sampled_from(
    ["", "0", "2", "07", "+2", "2, 2", "close", "keep-alive", "Upgrade", "timeout=5", "chunked", "gzip"]
) | st.text('ab 0:,;="\t\x00\x7f\xe9\n', max_size=6)
LINES = st.tuples(
    NAMES, st.sampled_from([":", ": ", ":  ", " : ", ":\t"]), VALUES, st.sampled_from(["", " "])
)
STATUS_LINES = st.tuples(
    st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "http/1.1"]),
    st.sampled_from(["200", "204", "304", "404", "599", "600", "101", "20", "2000"]),
    st.sampled_from([" ", "", "  "]),
    st.sampled_from(["OK", "", "Not Found", "Odd ", "\t", "\xe9", "\x1b[2J"]),
).map(lambda parts: f"{parts[0]} {parts[1]}{parts[2]}{parts[3]}")


def seen(method: str, data: bytes) -> object:
    """Everything that a reader makes of bytes."""
    reader = ResponseReader(method, "server.example")
    try:
        piece = reader.feed(data)
    except UpstreamProtocolError:
        return "refused"
    return everything(reader, piece)


def seen_by_llhttp(method: str, data: bytes) -> object:
    """The same, where no head is taken for a plain one."""
    reader = ResponseReader(method, "server.example")
    head, end, body = data.partition(b"\r\n\r\n")
    try:
        if not head.startswith(b"HTTP/1."):
            return "refused"
        reader._parse_head(head + end)
        piece = reader.feed(body) if body else b""
    except UpstreamProtocolError:
        return "refused"
    return everything(reader, piece)


def everything(reader: ResponseReader, piece: bytes) -> object:
    return reader.head, piece, reader.length, reader.complete, reader.persistent, reader.idle_limit


@given(st.sampled_from(["GET", "HEAD"]), STATUS_LINES, st.lists(LINES, max_size=4), st.booleans())
@example("GET", "HTTP/1.1 200 OK", [("Content-Length", ": ", "2", "")], True)
@example("GET", "HTTP/1.1 200 OK", [("Content-Length", ": ", "2", " ")], True)
@example("GET", "HTTP/1.1 200 ", [("A: B", ": ", "2", "")], True)
@example("GET", "HTTP/1.1 200 OK", [("Content-Length", ": ", "2", "")] * 2, True)
@example(
    "GET",
    "HTTP/1.1 200 OK",
    [("Content-Length", ": ", "2", ""), ("Transfer-Encoding", ": ", "chunked", "")],
    True,
)
def test_both_read_alike(
    method: str, status_line: str, lines: list[tuple[str, str, str, str]], has_body: bool
) -> None:
    head = "\r\n".join([status_line, *map("".join, lines), "", ""]).encode("latin-1")
    data = head + (b"ab" if has_body else b"")
    assert seen(method, data) == seen_by_llhttp(method, data)


def test_an_ordinary_head_is_plain() -> None:
    head = (
        b'HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 20:00:00 GMT\r\nContent-Length: 2\r\nETag: W/"1"\r\n\r\n'
    )
    assert reading._plain_head(head)
