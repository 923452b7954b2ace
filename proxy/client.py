"""The tool's side of an exchange: its request, and the answer on its connection. Nothing here waits.

Whoever parsed the request, it is a ClientRequest here. Heads and framing of answers are written byte for byte:
aiohttp's response objects would encode field values again and add a `Content-Type` and a `Server` of their own.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable
from typing import Final, Protocol

from .model import RequestHead, ResponseHead
from .rules.answer_heads import written

SMALL: Final = 256 * 1024
"""Bytes of a body up to which it is held in one piece.

A request's body of that size can be sent again after a 401, an answer's goes out in one write with its
length. Most resources, searches and pages are smaller; one read of asyncio brings as much.
"""

JOINED: Final = 16 * 1024
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

    def drained(self) -> Awaitable[None]:
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

    @property
    def whole_body(self) -> bytes | None:
        """All of the body, where it is at hand; None where it has to be read."""

    def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes.

        Raises BadRequest where it breaks its framing, UploadTimeout where it stops in the middle. A client
        that leaves in the middle cancels the exchange instead.
        """


class ClientAnswer:
    """The answer on the client's connection.

    `send` writes a whole one, `begin`, `feed` and `finish` one that comes in pieces; `abort` cuts it, so that
    it is never taken for complete. ConnectionError is raised where the client has left. Who writes more has to wait
    for the Outlet where its writing is paused.
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

    def send(self, head: ResponseHead, body: bytes, *, body_exists: bool = True) -> None:
        """Write a whole answer; its length is added where the head does not tell it."""
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

    def begin(self, head: ResponseHead) -> None:
        """Write the head of an answer whose body follows."""
        framing = b""
        if b"content-length" not in head.fields:
            if self._request.head.version >= (1, 1):
                self._is_chunked = True
                framing = b"Transfer-Encoding: chunked\r\n"
            else:
                self._closes = True
        self._outlet.write(b"".join(self._head_parts(head, framing)))

    def feed(self, piece: bytes) -> None:
        """Write a piece of the body."""
        size = len(piece)
        if self._is_chunked and size <= JOINED:
            self._outlet.write(b"%x\r\n%b\r\n" % (size, piece))
        elif self._is_chunked:
            self._outlet.write(b"%x\r\n" % size, piece, b"\r\n")
        else:
            self._outlet.write(piece)
        self.sent_bytes += size

    def finish(self) -> None:
        """Write the end of the body."""
        if self._is_chunked:
            self._outlet.write(b"0\r\n\r\n")

    def close(self) -> None:
        """Take no other request on this connection: what follows this one may be a part of it."""
        self._closes = True

    def abort(self) -> None:
        """Cut the connection."""
        self._closes = True
        self._outlet.abort()

    def _head_parts(self, head: ResponseHead, framing: bytes) -> list[bytes]:
        """The head, with a line that frames the body where it tells no length."""
        self.sent_head = head
        if not self._outlet.takes_more:
            self._closes = True
        if not self._request.is_read:
            self._closes = True  # What is left of the request's body would be taken for the next request.
        return written(head, framing, int(time.time()), closes=self._closes)
