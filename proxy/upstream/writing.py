"""RequestHead -> bytes, with its body's framing; what could be read as two requests never leaves."""

from __future__ import annotations

from enum import Enum
from itertools import chain

from ..model import RequestHead, frozen_value

LAST_CHUNK = b"0\r\n\r\n"
"""The end of a chunked body without trailers (RFC 9112 section 7.1)."""

IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""What may be sent again when its connection died unanswered (RFC 9110 section 9.2.2)."""

_METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
"""Where the absence of a body is told as `Content-Length: 0` (RFC 9110 section 8.6)."""


class Framing(Enum):
    """How a request's body is delimited (RFC 9112 section 6)."""

    NONE = "no body"
    LENGTH = "Content-Length"
    CHUNKED = "chunked"


# By name each time they are looked up by a function in Python, until 3.12.
NO_BODY, BY_LENGTH, CHUNKED = Framing


@frozen_value
class RequestMessage:
    """A request as it goes out: the bytes of its head and how its body follows."""

    head: bytes
    method: str
    framing: Framing
    length: int = 0
    waits_for_continue: bool = False

    @property
    def idempotent(self) -> bool:
        """Whether sending it twice does what sending it once does."""
        return self.method in IDEMPOTENT_METHODS


_line = b": ".join
"""The name and the value of a field as they are written."""


def request_message(head: RequestHead, *, body_exists: bool) -> RequestMessage:
    """The message of a head whose fields are complete; only what frames the body is added.

    Raises ValueError where the head holds what no rule should have let through: CR, LF or NUL, a target
    that is not in origin-form, or fields that say something else about the body than what follows. This is
    the last line of defence against a request inside a request, not a check of the client's input.
    """
    length: bytes | None = None
    waits = False
    fields = head.fields.lines
    parts = [
        head.method.encode("ascii"),
        b" ",
        head.target,
        b" HTTP/1.1\r\n",
        b"\r\n".join(map(_line, fields)),
    ]
    parts.append(b"\r\n" if fields else b"")
    for name, value in fields:
        size = len(name)  # tells most names from those three
        if size == 14 and name.lower() == b"content-length":
            if length is not None or not (value.isdigit() and len(value) < 19):
                raise ValueError("the request holds a Content-Length that is not one number")
            length = value
        elif size == 17 and name.lower() == b"transfer-encoding":
            raise ValueError("the request holds a Transfer-Encoding of its own")
        elif size == 6 and name.lower() == b"expect":
            waits = body_exists and value.lower() == b"100-continue"
    # Joined without what is written between them: searching for one byte is far cheaper than counting it. And
    # `find` is far cheaper than `in`, which tries an integer first and makes an error of it.
    told = b"".join((*parts[:3], *chain.from_iterable(fields)))
    if told.find(b"\r") >= 0 or told.find(b"\n") >= 0 or told.find(b"\0") >= 0:
        raise ValueError("the request head holds CR, LF or NUL within a part")
    framing = NO_BODY
    if body_exists:
        framing = CHUNKED if length is None else BY_LENGTH
        if length is None:
            parts.append(b"Transfer-Encoding: chunked\r\n")
    elif length is None:
        if head.method in _METHODS_WITH_BODY:
            parts.append(b"Content-Length: 0\r\n")
    elif int(length):
        raise ValueError("the request announces a body and has none")
    parts.append(b"\r\n")
    if not (head.method.isalpha() and head.target.startswith(b"/") and head.target.find(b" ") < 0):
        raise ValueError("the request line is not one method and one target in origin-form")
    return RequestMessage(b"".join(parts), head.method, framing, int(length or 0), waits)
