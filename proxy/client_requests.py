"""A plain request of a tool, as `rules.plain_requests` has it, with its body as far as it has come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from time import monotonic

from .client import SMALL, Outlet
from .client_limits import ClientLimits
from .client_upload import pieces_held
from .rules.plain_requests import PlainHead, plain_head


class PlainRequest:
    """A ClientRequest whose head is there; its body, if any, is fed as it comes and held until it is whole."""

    __slots__ = (
        "_body",
        "_limits",
        "content_length",
        "go_on",
        "head",
        "keep_alive",
        "outlet",
        "piece_at",
        "received_bytes",
    )

    def __init__(self, plain: PlainHead, outlet: Outlet, limits: ClientLimits) -> None:
        self.head = plain.head
        self.outlet = outlet
        self.keep_alive = plain.keep_alive
        self.content_length = plain.length
        self.received_bytes = 0
        self._limits = limits
        self._body: list[bytes] = []
        self.piece_at = monotonic() if plain.length else 0.0
        """When the last bytes came, by `time.monotonic`, of a request with a body."""
        self.go_on: Callable[[], object] | None = None
        """Called when all of the body has come; for who waits to set."""

    @property
    def is_read(self) -> bool:
        """Whether all of the body has come: what has is held, and no part of it can be taken for a request."""
        return self.received_bytes == self.content_length

    def feed(self, data: bytes) -> bytes:
        """Take bytes that have come; those after the body."""
        missing = self.content_length - self.received_bytes
        piece, surplus = (data, b"") if len(data) <= missing else (data[:missing], data[missing:])
        if piece:
            self._body.append(piece)
            self.received_bytes += len(piece)
            self.piece_at = monotonic()
            if self.is_read and self.go_on is not None:
                self.go_on()
        return surplus

    @property
    def body(self) -> bytes:
        """What has come of the body."""
        return self._body[0] if len(self._body) == 1 else b"".join(self._body)

    @property
    def whole_body(self) -> bytes | None:
        """All of the body, once it has come."""
        return self.body if self.is_read else None

    def pieces(self) -> AsyncIterator[bytes]:
        """The body in one piece."""
        return pieces_held(self, self._limits)


def plain_request(data: bytes, outlet: Outlet, limits: ClientLimits) -> PlainRequest | None:
    """The one plain request that the bytes begin with, or are; None where they are anything else."""
    plain = plain_head(data, SMALL)
    if plain is None:
        return None
    request = PlainRequest(plain, outlet, limits)
    if len(data) > plain.end:
        request.feed(data[plain.end :])
    return request
