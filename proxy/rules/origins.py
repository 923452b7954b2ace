"""Web pages of other origins that may use the proxy: what their browser asks first, and what they see of answers.

The origins are those of the setting allow_origins, exactly as a browser sends them; without any, nothing here
says a word. The protocol is CORS (Fetch standard, section 3.2), without credentials: a page's cookies and sign-ins
are none of this proxy's.
"""

from __future__ import annotations

import re
from typing import Final

from ..model import Fields, RequestHead, ResponseHead
from .guards import METHODS, guard_preflight
from .headers import SECURITY_FIELDS
from .listener import Listener

MAX_AGE: Final = 7200
"""Seconds for which a browser need not ask again: the most that Chrome keeps to."""

EXPOSED: Final = ", ".join(
    (
        # FHIR R4 section 3.1.0 and its asynchronous pattern; RFC 7240, RFC 9110.
        *("Location", "Content-Location", "ETag", "Link", "Retry-After", "X-Progress", "Preference-Applied"),
        *(
            "Accept-Patch",
            "Accept-Ranges",
            "Allow",
            "Content-Disposition",
            "Content-Range",
            "Date",
            "Warning",
        ),
        *("X-Request-Id", "X-Correlation-Id", "X-MS-Request-Charge", "X-MS-Session-Token"),
        *("Proxy-Status", "X-Fhir-Auth-Proxy-Attempts"),
    )
)
"""Fields of an answer that a page may read beside those that it always may (Fetch standard, section 2.2.2)."""

_FIELD_NAME: Final = re.compile(rb"[A-Za-z0-9-]{1,64}").fullmatch
"""Names that a tool's field can have here; others are dropped on the way."""


def preflight(head: RequestHead, listener: Listener) -> ResponseHead | None:
    """The answer to a browser that asks whether a page may; None for what is no such question.

    RequestRefused where the page may not.
    """
    fields = head.fields
    if (
        head.method != "OPTIONS"
        or not listener.cross_origins
        or b"origin" not in fields
        or b"access-control-request-method" not in fields
    ):
        return None
    guard_preflight(head, listener)
    asked = b",".join(fields.get_all(b"access-control-request-headers")).split(b",")
    names = [name for name in map(bytes.strip, asked) if _FIELD_NAME(name)]
    lines = [
        (b"Access-Control-Allow-Methods", ", ".join(METHODS).encode("ascii")),
        (b"Access-Control-Max-Age", b"%d" % MAX_AGE),
        (b"Cache-Control", b"no-store"),
        *SECURITY_FIELDS,
    ]
    if names:
        lines.append((b"Access-Control-Allow-Headers", b", ".join(names)))
    if fields.get_all(b"access-control-request-private-network") == (b"true",):
        # Asked by browsers that try Private Network Access, where a public page calls this machine (its section 3.1).
        lines.append((b"Access-Control-Allow-Private-Network", b"true"))
    return ResponseHead(204, b"No Content", shared(Fields(tuple(lines)), fields, listener))


def shared(answer: Fields, request: Fields, listener: Listener) -> Fields:
    """An answer's fields with the leave of a page of an allowed origin to read it."""
    if not listener.cross_origins:
        return answer
    answer = answer.adding((b"Vary", b"Origin"))
    origins = request.get_all(b"origin")
    if len(origins) != 1 or origins[0] not in listener.cross_origins:
        return answer
    return answer.adding(
        (b"Access-Control-Allow-Origin", origins[0]),
        (b"Access-Control-Expose-Headers", EXPOSED.encode("ascii")),
    )
