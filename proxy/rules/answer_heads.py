"""ResponseHead -> bytes, as the tool gets it."""

from __future__ import annotations

from email.utils import formatdate
from functools import lru_cache

from ..model import ResponseHead


def written(head: ResponseHead, framing: bytes, now: int, *, closes: bool) -> list[bytes]:
    """The head in pieces, with its last empty line.

    `framing` is a line for a body whose length the head does not tell. `now` (Unix seconds) is told where the head
    has no date: of an answer of our own, or one that came without (RFC 9110 section 6.6.1).
    """
    fields = head.fields
    places = fields.shape.places
    parts = [_status_line(head.status, head.reason)]
    parts.extend(fields.parts)
    if framing and b"content-length" not in places:
        parts.append(framing)
    if b"date" not in places:
        parts.append(_date_line(now))
    parts.append(b"Connection: close\r\n\r\n" if closes else b"\r\n")
    return parts


@lru_cache(maxsize=64)
def _status_line(status: int, reason: bytes) -> bytes:
    return b"HTTP/1.1 %d %b\r\n" % (status, reason)


@lru_cache(maxsize=1)
def _date_line(second: int) -> bytes:
    return b"Date: %b\r\n" % formatdate(second, usegmt=True).encode("ascii")
