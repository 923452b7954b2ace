"""RequestHead -> bytes, with its body's framing; what could be read as two requests never leaves."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from ..model import RequestHead

LAST_CHUNK: Final = b"0\r\n\r\n"
"""The end of a chunked body without trailers (RFC 9112 section 7.1)."""

IDEMPOTENT_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""What may be sent again when its connection died unanswered (RFC 9110 section 9.2.2)."""

_METHODS_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
"""Where the absence of a body is told as `Content-Length: 0` (RFC 9110 section 8.6)."""


class Framing(Enum):
    """How a request's body is delimited (RFC 9112 section 6)."""

    NONE = "no body"
    LENGTH = "Content-Length"
    CHUNKED = "chunked"


# By name each time they are looked up by a function in Python, until 3.12.
NO_BODY: Final = Framing.NONE
BY_LENGTH: Final = Framing.LENGTH
CHUNKED: Final = Framing.CHUNKED


class RequestMessage:
    """A request as it goes out: the bytes of its head and how its body follows."""

    __slots__ = ("framing", "head", "length", "method", "waits_for_continue")

    def __init__(
        self, head: bytes, method: str, framing: Framing, length: int = 0, *, waits_for_continue: bool = False
    ) -> None:
        self.head = head
        self.method = method
        self.framing = framing
        self.length = length
        self.waits_for_continue = waits_for_continue

    @property
    def idempotent(self) -> bool:
        """Whether sending it twice does what sending it once does."""
        return self.method in IDEMPOTENT_METHODS


_TARGET: Final = re.compile(rb"/[^\r\n\0 ]*+").fullmatch
"""A target in origin-form that ends no line and no request line (RFC 9112 section 3.2.1)."""


def request_message(head: RequestHead, *, body_exists: bool) -> RequestMessage:
    """The message of a head whose fields are complete; only what frames the body is added.

    Raises ValueError where the head holds what no rule should have let through: CR, LF or NUL, a target
    that is not in origin-form, or fields that say something else about the body than what follows. This is
    the last line of defence against a request inside a request, not a check of the client's input.
    """
    fields = head.fields
    places = fields.shape.places
    length: bytes | None = None
    if fields.is_cut:
        raise ValueError("the request head holds CR, LF or NUL within a part")
    if b"transfer-encoding" in places:
        raise ValueError("the request holds a Transfer-Encoding of its own")
    if b"content-length" in places:
        length = b", ".join(fields.get_all(b"content-length"))
        if not (length.isdigit() and len(length) < 19):
            raise ValueError("the request holds a Content-Length that is not one number")
    waits = body_exists and b"expect" in places and fields.text(b"expect").lower() == "100-continue"
    method, target = head.method, head.target
    if not (method.isalpha() and method.isascii() and _TARGET(target)):
        raise ValueError("the request line is not one method and one target in origin-form")
    framing, own = NO_BODY, b""
    if body_exists:
        framing = CHUNKED if length is None else BY_LENGTH
        if length is None:
            own = b"Transfer-Encoding: chunked\r\n"
    elif length is None:
        if method in _METHODS_WITH_BODY:
            own = b"Content-Length: 0\r\n"
    elif int(length):
        raise ValueError("the request announces a body and has none")
    message = (method.encode("ascii"), b" ", target, b" HTTP/1.1\r\n", *fields.parts, own, b"\r\n")
    return RequestMessage(b"".join(message), method, framing, int(length or 0), waits_for_continue=waits)
