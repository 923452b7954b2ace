"""The tool's side of an exchange: its request's body on the way up, and the answer on its connection.

Whoever parsed the request, it is a ClientRequest here. Heads and framing of answers are written byte for byte:
aiohttp's response objects would encode field values again and add a `Content-Type` and a `Server` of their own.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice
from typing import Protocol

from .client_limits import ClientLimits
from .errors import UploadTimeout
from .model import RequestHead, ResponseHead
from .rules.answer_heads import written
from .rules.bodies import BodyPath

SMALL = 256 * 1024
"""Bytes of a body up to which it is held in one piece.

A request's body of that size can be sent again after a 401, an answer's goes out in one write with its
length. Most resources, searches and pages are smaller; one read of asyncio brings as much.
"""

FEW = 4
"""Pieces of a decoded body that are held to tell its length; each has at most 256 KiB."""


JOINED = 16 * 1024
"""Bytes of a body up to which one piece with its head costs less than handing over two."""


class Outlet(Protocol):
    """The way to the tool: what is written goes out in order, or the connection is cut."""

    @property
    def takes_more(self) -> bool:
        """Whether another request may follow the next answer."""

    @property
    def writing_paused(self) -> bool:
        """Whether the tool is slower than the server: `drained` tells when it has caught up."""

    def write(self, *pieces: bytes) -> None:
        """Send bytes; ConnectionError where the tool has left."""

    async def drained(self) -> None:
        """Wait until the tool has taken what was sent; ConnectionError where it has stopped reading."""

    def abort(self) -> None:
        """Cut the connection."""


class ClientRequest(Protocol):
    """A request of a tool, with its body as far as it has come."""

    @property
    def head(self) -> RequestHead:
        """The head as it came."""

    @property
    def outlet(self) -> Outlet:
        """Where its answer goes."""

    @property
    def keep_alive(self) -> bool:
        """Whether the tool may send another request on the connection (RFC 9112 section 9.3)."""

    @property
    def content_length(self) -> int | None:
        """Bytes of the body where the head tells them."""

    @property
    def received_bytes(self) -> int:
        """Bytes of the body that have come."""

    @property
    def is_read(self) -> bool:
        """Whether no byte of the body is still to come on the connection."""

    def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes.

        Raises BadRequest where it breaks its framing, UploadTimeout where it stops in the middle. A client
        that leaves in the middle cancels the exchange instead.
        """


def upload_stopped(limits: ClientLimits) -> UploadTimeout:
    """What to tell a tool that has stopped in the middle of its body."""
    return UploadTimeout(
        f"Nothing more of the request's body has come for {limits.upload:g} seconds.",
        hint="Send the request again, or raise upload_timeout.",
    )


class Upload:
    """The body of a request on its way up; reading it raises what `ClientRequest.pieces` and its path raise."""

    def __init__(self, request: ClientRequest, path: BodyPath | None) -> None:
        self._request = request
        self._path = path
        self._stream: AsyncIterator[bytes] | None = None
        self._held: list[bytes] = []
        self._is_whole = not request.head.body_exists
        self.is_spent = False
        """Whether bytes that are not held have been handed out: the body cannot be sent again."""

    @property
    def length(self) -> int | None:
        """Bytes of the body as it goes up, None where that is not known before it has gone."""
        return sum(map(len, self._held)) if self._is_whole else None

    @property
    def held(self) -> bytes | None:
        """The whole body as it goes up, None where it is too large to be held."""
        if not self._is_whole:
            return None
        if len(self._held) != 1:
            self._held = [b"".join(self._held)]
        return self._held[0]

    async def hold(self) -> None:
        """Read the whole body where it is small."""
        if self._is_whole or (self._request.content_length or 0) > SMALL:
            return
        path, length = self._path, self._request.content_length
        if length is not None and (path is None or path.is_direct):
            # All of it fits, so that it can be read before anything is done with it.
            body = b"".join([piece async for piece in self._request.pieces()])
            self._held = [path.whole(body) if path else body]
            self._is_whole = True
            return
        size = 0
        self._stream = self._read()
        async for chunk in self._stream:
            self._held.append(chunk)
            size += len(chunk)
            if size > SMALL:
                return
        self._is_whole = True

    @property
    def body(self) -> AsyncIterator[bytes] | bytes | None:
        """The body from its start as it goes up, in one piece where it is held; None where there is none."""
        if not self._request.head.body_exists:
            return None
        return self.held if self._is_whole else self._chunks()

    async def _chunks(self) -> AsyncIterator[bytes]:
        for chunk in self._held:
            yield chunk
        if not self._is_whole:
            self.is_spent = True
            self._held = []
            async for chunk in self._stream or self._read():
                yield chunk

    async def _read(self) -> AsyncIterator[bytes]:
        path = self._path
        async for chunk in self._request.pieces():
            for piece in path.feed(chunk) if path else (chunk,):
                yield piece
        for piece in path.flush() if path else ():
            yield piece


class ClientAnswer:
    """The answer on the client's connection.

    `send` writes a whole one, `begin`, `feed` and `finish` one that comes in pieces; `abort` cuts it, so that
    it is never taken for complete. ConnectionError is raised where the client has left or has stopped reading.
    """

    __slots__ = ("_closes", "_is_chunked", "_outlet", "_request", "sent_bytes", "sent_head")

    def __init__(self, request: ClientRequest) -> None:
        self._request = request
        self._outlet = request.outlet
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
        if self.put(head, body, body_exists=body_exists):
            await self._outlet.drained()

    def put(self, head: ResponseHead, body: bytes, *, body_exists: bool = True) -> bool:
        """The same; whether the tool is slower than the server, and has to be waited for."""
        if not body_exists:
            body = b""
        size = len(body)
        parts = self._head_parts(head, b"Content-Length: %d\r\n" % size if body_exists else b"")
        if size <= JOINED:
            parts.append(body)
            self._outlet.write(b"".join(parts))
        else:
            self._outlet.write(b"".join(parts), body)
        self.sent_bytes += size
        return self._outlet.writing_paused

    async def send_pieces(self, head: ResponseHead, pieces: Iterator[bytes]) -> None:
        """Write an answer that comes in bounded pieces: whole if they are few, as a stream if they are many."""
        held = list(islice(pieces, FEW + 1))
        if len(held) <= FEW:
            await self.send(head, held[0] if len(held) == 1 else b"".join(held))
            return
        await self.begin(head)
        await self.feed(held)
        await self.finish(pieces)

    async def begin(self, head: ResponseHead) -> None:
        """Write the head of an answer whose body follows."""
        framing = b""
        if b"content-length" not in head.fields:
            if self._request.head.version >= (1, 1):
                self._is_chunked = True
                framing = b"Transfer-Encoding: chunked\r\n"
            else:
                self._closes = True
        await self._write(0, b"".join(self._head_parts(head, framing)))

    async def feed(self, pieces: Iterable[bytes]) -> None:
        """Write pieces of the body, and wait while the client is slower than the server."""
        for piece in pieces:
            size = len(piece)
            if self._is_chunked and size <= JOINED:
                await self._write(size, b"%x\r\n%b\r\n" % (size, piece))
            elif self._is_chunked:
                await self._write(size, b"%x\r\n" % size, piece, b"\r\n")
            else:
                await self._write(size, piece)

    async def finish(self, pieces: Iterable[bytes]) -> None:
        """Write the last pieces and the end of the body."""
        await self.feed(pieces)
        if self._is_chunked:
            await self._write(0, b"0\r\n\r\n")

    def close(self) -> None:
        """Take no other request on this connection: what follows this one may be a part of it."""
        self._closes = True

    def abort(self) -> None:
        """Cut the connection."""
        self._closes = True
        self._outlet.abort()

    def _head_parts(self, head: ResponseHead, framing: bytes = b"") -> list[bytes]:
        """The head, with a line that frames the body where it tells no length."""
        self.sent_head = head
        if not self._outlet.takes_more:
            self._closes = True
        if not self._request.is_read:
            self._closes = True  # What is left of the request's body would be taken for the next request.
        return written(head, framing, int(time.time()), closes=self._closes)

    async def _write(self, body_bytes: int, *parts: bytes) -> None:
        self.sent_bytes += body_bytes
        self._outlet.write(*parts)
        if self._outlet.writing_paused:
            await self._outlet.drained()
