"""The head of a plain request of a tool, read by llhttp alone.

Plain is: HTTP/1.1, one of FHIR's methods, a target in visible ASCII, each field once, no wish about the
connection but to keep or close it, and no body or one of a known and small length. That is a part of what
aiohttp takes, and read the same: tests/test_fronts.py compares the two on generated requests.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import httptools

from ..model import Fields, RequestHead

MOST_FIELD_BYTES: Final = 16 * 1024
"""Bytes of all field lines of a plain request."""

MOST_FIELDS: Final = 100
"""Field lines of a plain request; how many more there may be is for aiohttp to say."""

MOST_KEPT_BYTES: Final = 4 * 1024
"""Bytes of field lines that are worth to be remembered: those of almost every tool, with a token of its own."""

_HEAD_END: Final = b"\r\n\r\n"
_REQUEST_LINE: Final = re.compile(rb'(GET|HEAD|POST|PUT|PATCH|DELETE) (/[!"$-~]*) HTTP/1\.1\r\n').match
_METHODS: Final = {
    method.encode("ascii"): method for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
}
_LENGTH: Final = re.compile(rb"[0-9]{1,7}").fullmatch

_NEVER_PLAIN: Final = frozenset({b"expect", b"trailer", b"transfer-encoding", b"upgrade"})


class PlainHead:
    """A head with what it says about its body and its connection."""

    __slots__ = ("end", "head", "keep_alive", "length")

    def __init__(self, head: RequestHead, known: KnownFields, end: int) -> None:
        self.head = head
        self.length = known.length
        """Bytes of the body."""
        self.keep_alive = known.keep_alive
        """Whether the tool may send another request on the connection."""
        self.end = end
        """Where, in the bytes that it was read from, the body begins."""


def plain_head(data: bytes, most_body: int) -> PlainHead | None:
    """The head that the bytes begin with, followed by no more than its body; None where they are anything else.

    A body of more than `most_body` bytes makes it no plain one.
    """
    line = _REQUEST_LINE(data)
    if line is None:
        return None
    begin, end = line.end(), data.find(_HEAD_END)
    if end < begin:
        return None
    block = data[begin : end + 2]
    known = _fields(block) if len(block) <= MOST_KEPT_BYTES else _read_fields(block)
    end += len(_HEAD_END)
    if known is None or not len(data) - end <= known.length <= most_body:
        return None
    return PlainHead(RequestHead(_METHODS[line[1]], line[2], known.fields, known.length > 0), known, end)


class KnownFields:
    """The field lines of a plain request, and what they say about its body and its connection."""

    __slots__ = ("fields", "keep_alive", "length")

    def __init__(self, fields: Fields, length: int, keep_alive: bool) -> None:
        self.fields = fields
        self.length = length
        self.keep_alive = keep_alive


class _Lines:
    """What llhttp reads."""

    def __init__(self) -> None:
        self.lines: list[tuple[bytes, bytes]] = []
        self.is_complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field."""
        self.lines.append((name, value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        """The head has ended."""
        self.is_complete = True


def _read_fields(block: bytes) -> KnownFields | None:
    """What field lines say; None where they make the request no plain one."""
    if len(block) > MOST_FIELD_BYTES or not block.isascii() or b"\0" in block:
        return None
    read = _Lines()
    try:
        httptools.HttpRequestParser(read).feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % block)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return None
    if not read.is_complete:
        return None
    values = {name.lower(): value for name, value in read.lines}
    connection = values.get(b"connection", b"keep-alive").lower()
    is_plain = (
        len(values) == len(read.lines) <= MOST_FIELDS
        and _NEVER_PLAIN.isdisjoint(values)
        and connection in {b"keep-alive", b"close"}
    )
    length = values.get(b"content-length", b"0")
    if not is_plain or not _LENGTH(length):
        return None
    return KnownFields(Fields(tuple(read.lines)), int(length), connection == b"keep-alive")


@lru_cache(maxsize=256)
def _fields(block: bytes) -> KnownFields | None:
    """The same, remembered: a tool sends the same lines with every request."""
    known = _read_fields(block)
    if known is not None:
        known.fields.comes_again = True
    return known
