"""The tool's side of an exchange: its request's head and body, and the answer on its connection.

aiohttp's server parses and schedules. Heads and framing of answers are written here, byte for byte: its own
response objects would encode field values again and add a `Content-Type` and a `Server` of their own.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from email.utils import formatdate
from itertools import islice
from typing import cast

from aiohttp import HttpVersion11, StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from .client_heads import HeadLimit
from .client_limits import KEEPALIVE_SECONDS, ClientLimits, HeadTimer
from .errors import BadRequest, FieldsTooLarge, InternalError, ProxyError, UploadTimeout
from .model import Fields, RequestHead, ResponseHead
from .rules.bodies import BodyPath
from .rules.outcome import outcome

logger = logging.getLogger(__name__)

PARSER_LIMIT = 64 * 1024
"""Bytes of a request line or field line that are parsed at all; the guards refuse less, in FHIR's terms."""

MAX_FIELDS = 256
"""Field lines of a request: twice aiohttp's default, since tools behind gateways send many."""

SMALL = 256 * 1024
"""Bytes of a body up to which it is held in one piece.

A request's body of that size can be sent again after a 401, an answer's goes out in one write with its
length. Most resources, searches and pages are smaller; one read of asyncio brings as much.
"""

FEW = 4
"""Pieces of a decoded body that are held to tell its length; each has at most 256 KiB."""


def request_head(request: web.BaseRequest) -> RequestHead:
    """The head as it came."""
    target = request.raw_path.encode("utf-8", "surrogateescape")
    fields = Fields(request.raw_headers)
    return RequestHead(request.method, target, fields, request.body_exists, request.version)


class Upload:
    """The body of a request on its way up.

    Reading it raises BadRequest where the body breaks its framing, UploadTimeout where it stops in the
    middle, and what its path raises. A client that leaves in the middle cancels the exchange instead.
    """

    def __init__(
        self, request: web.BaseRequest, path: BodyPath | None, limits: ClientLimits | None = None
    ) -> None:
        self._request = request
        self._seconds = (limits or ClientLimits()).upload
        self._stream = self._read(path)
        self._held: list[bytes] = []
        self._is_whole = not request.body_exists
        self.is_spent = False
        """Whether bytes that are not held have been handed out: the body cannot be sent again."""

    @property
    def length(self) -> int | None:
        """Bytes of the body as it goes up, None where that is not known before it has gone."""
        return sum(map(len, self._held)) if self._is_whole else None

    @property
    def held(self) -> bytes | None:
        """The whole body as it goes up, None where it is too large to be held."""
        return b"".join(self._held) if self._is_whole else None

    async def hold(self) -> None:
        """Read the whole body where it is small."""
        if self._is_whole or (self._request.content_length or 0) > SMALL:
            return
        size = 0
        async for chunk in self._stream:
            self._held.append(chunk)
            size += len(chunk)
            if size > SMALL:
                return
        self._is_whole = True

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body from its start."""
        for chunk in self._held:
            yield chunk
        if not self._is_whole:
            self.is_spent = True
            self._held = []
            async for chunk in self._stream:
                yield chunk

    async def _read(self, path: BodyPath | None) -> AsyncIterator[bytes]:
        content = self._request.content
        if self._request.headers.get("Expect", "").lower() == "100-continue" and not content.total_bytes:
            await self._request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            while chunk := await self._piece(content):
                for piece in path.feed(chunk) if path else (chunk,):
                    yield piece
        except web.RequestPayloadError as exc:
            raise BadRequest("The request's body breaks off or breaks its framing.") from exc
        for piece in path.flush() if path else ():
            yield piece

    async def _piece(self, content: StreamReader) -> bytes:
        try:
            async with asyncio.timeout(self._seconds):
                return await content.readany()
        except TimeoutError:
            raise UploadTimeout(
                f"Nothing more of the request's body has come for {self._seconds:g} seconds.",
                hint="Send the request again, or raise upload_timeout.",
            ) from None


class ClientAnswer(web.StreamResponse):
    """The answer on the client's connection.

    `send` writes a whole one, `begin`, `feed` and `finish` one that comes in pieces; `abort` cuts it, so that
    it is never taken for complete. ConnectionError is raised where the client has left or has stopped reading.
    """

    def __init__(self, request: web.BaseRequest, limits: ClientLimits | None = None) -> None:
        super().__init__()
        self._request = request
        self._seconds = (limits or ClientLimits()).send
        self._is_chunked = False
        self._closes = not request.keep_alive
        self.sent_head: ResponseHead | None = None
        self.sent_bytes = 0

    @property
    def keep_alive(self) -> bool:
        """Whether the connection takes another request."""
        return not self._closes

    async def send(self, head: ResponseHead, body: bytes, *, body_exists: bool = True) -> None:
        """Write a whole answer; its length is added where the head does not tell it."""
        if body_exists and b"content-length" not in head.fields:
            head = replace(head, fields=head.fields.adding((b"Content-Length", b"%d" % len(body))))
        await self._write(self._head_bytes(head) + body if body_exists else self._head_bytes(head), len(body))

    async def send_pieces(self, head: ResponseHead, pieces: Iterator[bytes]) -> None:
        """Write an answer that comes in bounded pieces: whole if they are few, as a stream if they are many."""
        held = list(islice(pieces, FEW + 1))
        if len(held) <= FEW:
            await self.send(head, b"".join(held))
            return
        await self.begin(head)
        await self.feed(held)
        await self.finish(pieces)

    async def begin(self, head: ResponseHead) -> None:
        """Write the head of an answer whose body follows."""
        if b"content-length" not in head.fields:
            if self._request.version >= HttpVersion11:
                self._is_chunked = True
                head = replace(head, fields=head.fields.adding((b"Transfer-Encoding", b"chunked")))
            else:
                self._closes = True
        await self._write(self._head_bytes(head), 0)

    async def feed(self, pieces: Iterable[bytes]) -> None:
        """Write pieces of the body, and wait while the client is slower than the server."""
        for piece in pieces:
            await self._write(
                b"%x\r\n%b\r\n" % (len(piece), piece) if self._is_chunked else piece, len(piece)
            )

    async def finish(self, pieces: Iterable[bytes]) -> None:
        """Write the last pieces and the end of the body."""
        await self.feed(pieces)
        if self._is_chunked:
            await self._write(b"0\r\n\r\n", 0)

    def close(self) -> None:
        """Take no other request on this connection: what follows this one may be a part of it."""
        self._closes = True

    def abort(self) -> None:
        """Cut the connection."""
        self._closes = True
        if self._request.transport is not None:
            self._request.transport.abort()

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:  # noqa: ARG002
        """For aiohttp's loop: the answer has been written."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """For aiohttp's loop: the answer has been written."""

    def _head_bytes(self, head: ResponseHead) -> bytes:
        self.sent_head = head
        if not ClientConnection.of(self._request).takes_more:
            self._closes = True
        if not self._request.content.is_eof():
            self._closes = True  # What is left of the request's body would be taken for the next request.
        lines = [b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason)]
        lines += [b"%b: %b\r\n" % line for line in head.fields.lines]
        if b"date" not in head.fields:
            # For an answer of our own, and one that came without: RFC 9110 section 6.6.1.
            lines.append(b"Date: %b\r\n" % formatdate(usegmt=True).encode("ascii"))
        lines.append(b"Connection: close\r\n\r\n" if self._closes else b"\r\n")
        return b"".join(lines)

    async def _write(self, data: bytes, body_bytes: int) -> None:
        self.sent_bytes += body_bytes
        try:
            async with asyncio.timeout(self._seconds):
                await self._request.writer.write(data)
        except TimeoutError:
            raise ConnectionAbortedError("the tool has stopped reading") from None


class ClientFailure(ClientAnswer):
    """The answer to what never became an exchange, sent when aiohttp's loop asks for it."""

    def __init__(self, request: web.BaseRequest, error: ProxyError) -> None:
        super().__init__(request)
        self._error = error
        self._closes = True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send the error's OperationOutcome."""
        head, body = outcome(self._error, accept=request.headers.get("Accept", ""))
        await self.send(head, body)
        return None


class ClientConnection(web.RequestHandler):
    """One connection of a tool; what cannot be parsed is answered in FHIR's terms, and never logged."""

    __slots__ = ("_closed", "_head_limit", "_head_timer", "_is_exchanging", "_limits", "takes_more")

    def __init__(self, server: web.Server, limits: ClientLimits, closed: Callable[[], None]) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # aiohttp's documented way to have none
            auto_decompress=False,
            keepalive_timeout=KEEPALIVE_SECONDS,
            max_line_size=PARSER_LIMIT,
            max_field_size=PARSER_LIMIT,
            max_headers=MAX_FIELDS,
        )
        self.takes_more = True
        """Whether another request may follow the next answer."""
        self._is_exchanging = False
        self._limits = limits
        self._closed = closed
        self._head_timer: HeadTimer | None = None

    @classmethod
    def of(cls, request: web.BaseRequest) -> ClientConnection:
        """The connection on which a request came."""
        if not isinstance(request.protocol, cls):
            raise TypeError("the request came on no connection of a tool")
        return request.protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for a head."""
        self._head_timer = HeadTimer(transport, self._limits)
        # TCP and unix sockets have such a one; uvloop's is no subclass of asyncio's.
        self._head_limit = HeadLimit(cast(asyncio.Transport, transport))
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Let aiohttp parse, against time."""
        if self._head_timer is not None:
            self._head_timer.received(data)
        if self._head_limit.takes(data):
            super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell that there is room for another connection."""
        if self._head_timer is not None:
            self._head_timer.stop()
            self._head_timer = None
            self._closed()
        super().connection_lost(exc)

    def hang_up(self) -> None:
        """Close unless a request is being answered."""
        if self.transport is not None and not self._is_exchanging:
            self.transport.close()

    @contextmanager
    def exchanging(self, request: web.BaseRequest) -> Iterator[None]:
        """While an exchange runs; its own limits hold then."""
        if self._head_timer is not None:
            self._head_timer.begin_exchange()
        self._is_exchanging = True
        self._head_limit.begin_exchange(request.content.is_eof)
        try:
            yield
        finally:
            self._is_exchanging = False
            self._head_limit.end_exchange()
            if self._head_timer is not None:
                self._head_timer.end_exchange()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  (it quotes what could not be parsed)
    ) -> web.StreamResponse:
        """Answer what aiohttp refuses and what a fault of the proxy stops; the connection is closed after it."""
        if isinstance(exc, LineTooLong):
            error: ProxyError = FieldsTooLarge("The request line or a header field is longer than 64 KiB.")
        elif isinstance(exc, HttpProcessingError) and status < 500:
            error = BadRequest("The request is not valid HTTP/1.1.")
        else:
            error = InternalError("The proxy itself failed; its log says where.")
            self.log_exception("Internal error", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionResetError("the answer has begun: it is cut, never completed")
        return ClientFailure(request, error)

    def log_exception(self, *args: object, **kw: object) -> None:
        """Log where a fault happened and of which kind it is; its message may quote patient data."""
        exc = kw.get("exc_info")
        if not isinstance(exc, BaseException):
            exc = sys.exc_info()[1]
        frames = "".join(traceback.format_tb(exc.__traceback__)) if exc else ""
        logger.error("%s: %s\n%s", args[0] if args else "Error", type(exc).__name__, frames)
