"""A plain request of a tool, as `rules.plain_requests` has it, with its body as far as it has come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from time import monotonic

from .client import SMALL, Outlet, upload_stopped
from .client_limits import ClientLimits
from .rules.plain_requests import PlainHead, plain_head
from .stepping import Bell


class PlainRequest:
    """A ClientRequest whose head is there; its body, if any, is fed as it comes and held until it is whole."""

    __slots__ = (
        "_body",
        "_limits",
        "_piece_at",
        "_whole",
        "content_length",
        "head",
        "keep_alive",
        "outlet",
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
        self._whole = Bell()
        self._piece_at = monotonic()

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
            self._piece_at = monotonic()
            if self.is_read:
                self._whole.ring()
        return surplus

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body in one piece."""
        while not self.is_read:
            remaining = self._piece_at + self._limits.upload - monotonic()
            if remaining <= 0:
                raise upload_stopped(self._limits)
            await self._whole.rings_within(remaining)
        yield self._body[0] if len(self._body) == 1 else b"".join(self._body)


def plain_request(data: bytes, outlet: Outlet, limits: ClientLimits) -> PlainRequest | None:
    """The one plain request that the bytes begin with, or are; None where they are anything else."""
    plain = plain_head(data, SMALL)
    if plain is None:
        return None
    request = PlainRequest(plain, outlet, limits)
    if len(data) > plain.end:
        request.feed(data[plain.end :])
    return request
