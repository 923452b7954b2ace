"""HTTP/1.1 messages read as strictly as RFC 9112 is written: whatever another reader could take otherwise fails.

It shares nothing with the parsers of the proxy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_REQUEST_LINE = re.compile(rb"(GET|HEAD|POST|PUT|PATCH|DELETE) (/[!-~]*) HTTP/1\.1")
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) ([\t -~\x80-\xff]*)")
_FIELD_LINE = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?"
)
_CHUNK_LINE = re.compile(rb"[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Fields:
    """Names in lower case."""

    lines: tuple[tuple[bytes, bytes], ...]

    def all(self, name: bytes) -> list[bytes]:
        return [value for line, value in self.lines if line == name]

    @property
    def length(self) -> int | None:
        """The length of the body; None for a chunked one, 0 where neither is told."""
        lengths, codings = self.all(b"content-length"), self.all(b"transfer-encoding")
        assert len(lengths) + len(codings) <= 1, "a body of two lengths"
        assert codings in ([], [b"chunked"])
        if codings:
            return None
        assert not lengths or re.fullmatch(b"[0-9]{1,18}", lengths[0])
        return int(lengths[0]) if lengths else 0


@dataclass(frozen=True, slots=True)
class Request:
    line: bytes
    method: bytes
    target: bytes
    fields: Fields


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    fields: Fields
    body: bytes
    is_whole: bool

    def field(self, name: str) -> str | None:
        """The one value of a field."""
        values = self.fields.all(name.lower().encode())
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0].decode("latin-1") if values else None


def request(head: bytes) -> Request:
    """The head of a request with its empty line; AssertionError where it is not well-formed."""
    first, fields = _head(head)
    match = _REQUEST_LINE.fullmatch(first)
    assert match, "a request line that is not well-formed"
    return Request(first, match[1], match[2], fields)


def answers(raw: bytes, *methods: bytes) -> list[Answer]:
    """The answers on a connection that has ended, to requests of these methods (GET where there are more)."""
    found: list[Answer] = []
    while raw:
        method = methods[len(found)] if len(found) < len(methods) else b"GET"
        head, end, rest = raw.partition(b"\r\n\r\n")
        assert end, "an answer whose head was cut"
        first, fields = _head(head + end)
        match = _STATUS_LINE.fullmatch(first)
        assert match, "a status line that is not well-formed"
        status = int(match[1])
        if status < 200:
            raw = rest
            continue
        if method == b"HEAD" or status in {204, 304}:
            body, is_whole, raw = b"", True, rest
        else:
            body, is_whole, raw = _body(fields, rest)
        found.append(Answer(status, fields, body, is_whole))
    return found


def _head(head: bytes) -> tuple[bytes, Fields]:
    assert head.endswith(b"\r\n\r\n")
    first, *lines = head[:-4].split(b"\r\n")
    matches = [_FIELD_LINE.fullmatch(line) for line in lines]
    pairs = [(match[1].lower(), match[2] or b"") for match in matches if match]
    assert len(pairs) == len(lines), "a field line that is not well-formed"
    return first, Fields(tuple(pairs))


def _body(fields: Fields, rest: bytes) -> tuple[bytes, bool, bytes]:
    """The body, whether all of it is there, and what follows it."""
    length = fields.length
    if length is not None:
        return rest[:length], len(rest) >= length, rest[length:]
    body = b""
    while True:
        line, end, rest = rest.partition(b"\r\n")
        if not end:
            return body, False, b""
        assert _CHUNK_LINE.fullmatch(line), "a chunk that is not well-formed"
        size = int(line, 16)
        if len(rest) < size + 2:
            return body + rest[:size], False, b""
        assert rest[size : size + 2] == b"\r\n", "a chunk whose end is elsewhere"
        body, rest = body + rest[:size], rest[size + 2 :]
        if not size:
            return body, True, rest
