"""The id by which an exchange is found again, in the tool's log, in this proxy's and in the server's.

A `traceparent` (W3C Trace Context) passes as every field does, except where `tracing` follows the exchange.
"""

from __future__ import annotations

import re
from itertools import count
from random import getrandbits
from typing import Final

from ..model import Fields

REQUEST_ID_FIELD: Final = b"X-Request-Id"
_NAME: Final = REQUEST_ID_FIELD.lower()

# What may stand in a log: anything else could be made up to look like something else, or be a patient's name.
_PLAIN: Final = re.compile(rb"[A-Za-z0-9._:-]{1,64}")


_PROCESS: Final = f"{getrandbits(80):020x}"
_numbers: Final = count(100_000_000_000)


def new_id() -> str:
    """An id of 32 characters that no other exchange has, of this process or another; it may be guessed."""
    return _PROCESS + str(next(_numbers))


def identified(fields: Fields, made: str) -> tuple[bytes, str]:
    """The id of a request, the tool's own or else `made`, and the id for the log.

    The tool's own goes on as it is; one that is not plain is not logged, `made` is.
    """
    own = fields.get(_NAME)
    if own is None:
        return made.encode("ascii"), made
    return own, own.decode("ascii") if _PLAIN.fullmatch(own) else made


def id_lines(fields: Fields, request_id: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """The line that fields lack to tell the exchange's id; none where they tell one."""
    return ((REQUEST_ID_FIELD, request_id),) if request_id and _NAME not in fields.shape.places else ()
