"""An answer and its body: a stream between the connection, which fills it, and the one who reads it (`waiting`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Final, Protocol

from ..errors import ProxyError
from ..model import ResponseHead

HIGH_WATER: Final = 256 * 1024
"""Bytes that may wait for the reader before the connection stops reading: one read of asyncio's (256 KiB)."""

LOW_WATER: Final = HIGH_WATER // 4
"""Bytes left when it goes on: the reader stays busy while the connection wakes up."""


class Source(Protocol):
    """Where the bytes of a body come from."""

    def pause_reading(self) -> None:
        """Take no more bytes from the network."""

    def resume_reading(self) -> None:
        """Go on taking them."""

    def abort(self) -> None:
        """Give up the exchange and its connection."""


class Answer:
    """A final response: its head, and its body as it comes, without any decoding.

    One reader at a time. `close` belongs to every answer.
    """

    __slots__ = (
        "_complete",
        "_failure",
        "_paused",
        "_pieces",
        "_size",
        "_source",
        "begun_at",
        "go_on",
        "head",
        "length",
        "waited",
    )

    def __init__(self, head: ResponseHead, length: int | None, source: Source) -> None:
        self.head = head
        self.length = length
        """Bytes of the body where the server told them, 0 where there is none (HEAD, 204, 304)."""
        self.waited = 0.0
        """Seconds from the call that sent the request to this head."""
        self.begun_at = perf_counter()
        """When its head came, by `time.perf_counter`."""
        self._source: Source | None = source
        """None once the answer is complete or has failed: the connection then serves others."""
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._paused = False
        self._complete = False
        self._failure: ProxyError | None = None
        self.go_on: Callable[[], object] | None = None
        """Called by `tell`; for the reader to set."""

    @property
    def is_small(self) -> bool:
        """Whether it is worth waiting for the whole body, and the connection goes on reading until it is there."""
        return self.length is not None and self.length <= HIGH_WATER

    # The reader's side.

    @property
    def is_complete(self) -> bool:
        """Whether all of the body has arrived."""
        return self._complete

    def take_whole(self, limit: int) -> bytes | None:
        """The whole body in one piece where it is there and small, None otherwise; it is not read again."""
        if not self._complete or self._size > limit:
            return None
        pieces = self._pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._size = 0
        return body

    def take_piece(self) -> bytes:
        """The next bytes of the body; empty where none have come, or none are left.

        Raises UpstreamUnreachable, UpstreamTimeout or UpstreamProtocolError where the rest will not come: a cut
        body never looks like a complete one.
        """
        if not self._pieces:
            self.check()
            return b""
        piece = self._pieces.popleft()
        self._size -= len(piece)
        if self._paused and self._size <= LOW_WATER:
            self._paused = False
            if self._source is not None:
                self._source.resume_reading()
        return piece

    def check(self) -> None:
        """Raise why more will not come, where that is so and the body is not whole, as `take_piece` does."""
        if self._failure is not None:
            raise self._failure
        if self._source is None and not self._complete:
            raise RuntimeError("the answer was closed")

    def close(self) -> None:
        """Give up what has not arrived; the connection lives on only where the answer is complete."""
        source, self._source = self._source, None
        if source is not None:
            source.abort()
        self._pieces.clear()
        self._size = 0
        self.tell()

    # The connection's side.

    def feed(self, piece: bytes) -> None:
        """Add bytes that have arrived."""
        if not piece or self._source is None:
            return
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > HIGH_WATER and not self._paused:
            self._paused = True
            self._source.pause_reading()

    def finish(self) -> None:
        """Mark the end: the body is whole."""
        if self._paused and self._source is not None:
            self._source.resume_reading()
        self._paused = False
        self._source = None
        self._complete = True

    def fail(self, failure: ProxyError) -> None:
        """Mark the end: the rest of the body will not come."""
        if self._source is not None:
            self._source = None
            self._failure = failure

    def tell(self) -> None:
        """Let the reader go on, which it may do before this returns: the last that a connection does."""
        if self.go_on is not None:
            self.go_on()
