"""What the server can be told to do wrong, one fault for each coming request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from .spellings import Pairs


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer this instead of doing what was asked."""

    status: int
    fields: Pairs = ()
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class RejectToken:
    """Answer 401 with a challenge although the token is valid."""

    reason: str = "The token was revoked"


@dataclass(frozen=True, slots=True)
class Cut:
    """Announce the whole answer, send this many bytes of its body, and close the connection."""

    after: int = 0


Fault: TypeAlias = Answer | RejectToken | Cut

# Microsoft's own words for its 429 (ThrottlingMiddleware), with both fields that tell how long to wait.
THROTTLED = Answer(
    429,
    (("x-ms-retry-after-ms", "1000"), ("Retry-After", "1"), ("Content-Type", "application/fhir+json")),
    b'{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"throttled","diagnostics":'
    b'"The maximum number of concurrent API calls on this instance was reached."}]}',
)
