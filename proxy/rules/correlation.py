"""The id by which an exchange is found again, in the tool's log, in this proxy's and in the server's.

A `traceparent` (W3C Trace Context) passes as every field does, except where `tracing` follows the exchange.
"""

from __future__ import annotations

import re
from dataclasses import replace

from ..model import Fields, RequestHead

REQUEST_ID_FIELD = b"X-Request-Id"
_NAME = REQUEST_ID_FIELD.lower()

# What may stand in a log: anything else could be made up to look like something else, or be a patient's name.
_PLAIN = re.compile(rb"[A-Za-z0-9._:-]{1,64}")


def identified(head: RequestHead, made: str) -> tuple[RequestHead, str]:
    """The request with an id, the tool's own or else `made`, and the id for the log.

    The tool's own goes on as it is; one that is not plain is not logged, `made` is.
    """
    own = head.fields.get(_NAME)
    if own is None:
        line = (REQUEST_ID_FIELD, made.encode("ascii"))
        return replace(head, fields=head.fields.adding(line)), made
    return head, own.decode("ascii") if _PLAIN.fullmatch(own) else made


def answered(fields: Fields, request: Fields) -> Fields:
    """An answer's fields with the request's id, where the server gave it none."""
    own = request.get(_NAME)
    if own is None or _NAME in fields:
        return fields
    return fields.adding((REQUEST_ID_FIELD, own))
