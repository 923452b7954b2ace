"""A small FHIR R4 server that behaves like Microsoft's, with synthetic patients, in memory.

`server` is the socket; `service` routes a call to `instances`, `search`, `transactions`, `export` or
`capability`; all of them write to `store`. `spellings` writes every absolute address.
"""

from __future__ import annotations

from .access import SCOPE, Claims, Verifier
from .faults import THROTTLED, Answer, Cut, Fault, RejectToken
from .outcome import FhirError
from .patients import DOCUMENT, PHOTO
from .server import FhirServer, Record
from .spellings import SPELLINGS

__all__ = [
    "DOCUMENT",
    "PHOTO",
    "SCOPE",
    "SPELLINGS",
    "THROTTLED",
    "Answer",
    "Claims",
    "Cut",
    "Fault",
    "FhirError",
    "FhirServer",
    "Record",
    "RejectToken",
    "Verifier",
]
