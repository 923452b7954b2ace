"""A request of a tool, parsed by aiohttp or, where it is a plain one, by llhttp alone.

Plain is: HTTP/1.1, one of FHIR's methods, a target in visible ASCII, each field once, no wish about the
connection but to keep or close it, and no body or one of a known and small length. That is a part of what
aiohttp takes, and read the same: tests/test_fronts.py compares the two on generated requests.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import lru_cache

import httptools
from aiohttp import web

from .client import SMALL, Outlet
from .client_limits import ClientLimits
from .errors import BadRequest, UploadTimeout
from .model import Fields, RequestHead

MOST_FIELD_BYTES = 16 * 1024
"""Bytes of all field lines of a plain request."""

MOST_FIELDS = 100
"""Field lines of a plain request; how many more there may be is for aiohttp to say."""

MOST_KEPT_BYTES = 4 * 1024
"""Bytes of field lines that are worth to be remembered: those of almost every tool, with a token of its own."""

_HEAD_END = b"\r\n\r\n"
_REQUEST_LINE = re.compile(rb'(GET|HEAD|POST|PUT|PATCH|DELETE) (/[!"$-~]*) HTTP/1\.1\r\n').match
_METHODS = {method.encode("ascii"): method for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")}
_LENGTH = re.compile(rb"[0-9]{1,7}").fullmatch

_NEVER_PLAIN = frozenset({b"expect", b"trailer", b"transfer-encoding", b"upgrade"})


def request_head(request: web.BaseRequest) -> RequestHead:
    """The head of a request that aiohttp has parsed, as it came."""
    target = request.raw_path.encode("utf-8", "surrogateescape")
    version = (request.version.major, request.version.minor)
    return RequestHead(request.method, target, Fields(request.raw_headers), request.body_exists, version)


class AiohttpRequest:
    """A ClientRequest that aiohttp has parsed."""

    __slots__ = ("_content", "_limits", "_request", "head", "outlet")

    def __init__(self, request: web.BaseRequest, outlet: Outlet, limits: ClientLimits) -> None:
        self._request = request
        self._content = request.content
        self._limits = limits
        self.head = request_head(request)
        self.outlet = outlet

    @property
    def keep_alive(self) -> bool:
        """Whether the tool may send another request on the connection."""
        return self._request.keep_alive

    @property
    def content_length(self) -> int | None:
        """Bytes of the body where the head tells them."""
        return self._request.content_length

    @property
    def received_bytes(self) -> int:
        """Bytes of the body that have come."""
        return self._content.total_bytes

    @property
    def is_read(self) -> bool:
        """Whether all of the body has been taken."""
        return self._content.is_eof()

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes."""
        expect = self._request.headers.get("Expect", "")
        if expect.lower() == "100-continue" and not self._content.total_bytes:
            self.outlet.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            while piece := await self._piece():
                yield piece
        except web.RequestPayloadError as exc:
            raise BadRequest("The request's body breaks off or breaks its framing.") from exc

    async def _piece(self) -> bytes:
        try:
            async with asyncio.timeout(self._limits.upload):
                return await self._content.readany()
        except TimeoutError:
            raise _upload_stopped(self._limits) from None


class PlainRequest:
    """A ClientRequest whose head is there; its body, if any, is fed as it comes and held until it is whole."""

    __slots__ = (
        "_body",
        "_limits",
        "_more",
        "_taken",
        "content_length",
        "head",
        "keep_alive",
        "outlet",
        "received_bytes",
    )

    def __init__(self, head: RequestHead, known: KnownFields, outlet: Outlet, limits: ClientLimits) -> None:
        self.head = head
        self.outlet = outlet
        self.keep_alive = known.keep_alive
        self.content_length = known.length
        self.received_bytes = 0
        self._limits = limits
        self._body: list[bytes] = []
        self._taken = 0
        self._more: asyncio.Future[None] | None = None

    @property
    def is_received(self) -> bool:
        """Whether all of the body has come."""
        return self.received_bytes == self.content_length

    @property
    def is_read(self) -> bool:
        """Whether all of the body has been taken."""
        return self._taken == self.content_length

    def feed(self, data: bytes) -> bytes:
        """Take bytes that have come; those after the body."""
        missing = self.content_length - self.received_bytes
        piece = data[:missing]
        if piece:
            self._body.append(piece)
            self.received_bytes += len(piece)
            if self._more is not None and not self._more.done():
                self._more.set_result(None)
        return data[missing:]

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body in one piece."""
        while not self.is_received:
            self._more = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(self._limits.upload):
                    await self._more
            except TimeoutError:
                raise _upload_stopped(self._limits) from None
            finally:
                self._more = None
        self._taken = self.received_bytes
        yield self._body[0] if len(self._body) == 1 else b"".join(self._body)


def plain_request(data: bytes, outlet: Outlet, limits: ClientLimits) -> PlainRequest | None:
    """The one plain request that the bytes begin with, or are; None where they are anything else."""
    line = _REQUEST_LINE(data)
    end = data.find(_HEAD_END)
    if line is None or end < line.end():
        return None
    block = data[line.end() : end + 2]
    known = _fields(block) if len(block) <= MOST_KEPT_BYTES else _read_fields(block)
    if known is None:
        return None
    rest = len(data) - end - len(_HEAD_END)
    if rest > known.length:
        return None
    head = RequestHead(_METHODS[line[1]], line[2], known.fields, known.length > 0)
    request = PlainRequest(head, known, outlet, limits)
    if rest:
        request.feed(data[end + len(_HEAD_END) :])
    return request


@dataclass(frozen=True, slots=True)
class KnownFields:
    """The field lines of a plain request, and what they say about its body and its connection."""

    fields: Fields
    length: int
    keep_alive: bool


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
    if not is_plain or not _LENGTH(length) or int(length) > SMALL:
        return None
    return KnownFields(Fields(tuple(read.lines)), int(length), connection == b"keep-alive")


_fields = lru_cache(maxsize=256)(_read_fields)
"""The same, remembered: a tool sends the same lines with every request."""


def _upload_stopped(limits: ClientLimits) -> UploadTimeout:
    return UploadTimeout(
        f"Nothing more of the request's body has come for {limits.upload:g} seconds.",
        hint="Send the request again, or raise upload_timeout.",
    )
