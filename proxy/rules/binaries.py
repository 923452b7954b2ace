"""Whether a body is FHIR or the content of a Binary, whose bytes are not the proxy's to change.

`Binary/[id]` has two faces (FHIR R4 section 2.44.1, "Serving Binary Resources using the RESTful API"): the
resource, if FHIR's own types are asked for, else its content under its own media type. That content can be
JSON or XML which looks like FHIR, and whoever stored it holds its hash.

| request                          | the tool asks for or sends  | Content-Type of the body   | body is     |
|----------------------------------|-----------------------------|----------------------------|-------------|
| read or vread of a Binary        | FHIR, by Accept or _format  | any                        | FHIR        |
|                                  | anything else               | application/fhir+ndjson    | FHIR        |
|                                  |                             | any other                  | its content |
| create or update of a Binary     | application/fhir+json, +xml |                            | FHIR        |
|                                  | anything else               |                            | its content |
| anything else, NDJSON files too  |                             | any                        | FHIR        |

The second row is for servers that keep the files of a bulk export as Binaries, as HAPI does.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from ..model import Classified, Interaction

_READS = frozenset({Interaction.READ, Interaction.VREAD})
_WRITES = frozenset({Interaction.CREATE, Interaction.UPDATE})

_FHIR_NDJSON = "application/fhir+ndjson"
_RESOURCE_TYPES = frozenset(
    {"application/fhir+json", "application/fhir+xml", "application/json+fhir", "application/xml+fhir"}
)
"""FHIR's own media types: those of R4 section 3.1.0.1.8 and of DSTU2."""

_FHIR_TYPES = _RESOURCE_TYPES | {_FHIR_NDJSON}

_FORMATS = _FHIR_TYPES | {"json", "xml", "text/json", "text/xml", "application/json", "application/xml"}
"""Values of `_format`, which asks for FHIR even by a general type (R4 section 3.1.0.1.8)."""


def answer_is_fhir(classified: Classified, *, accept: str, query: bytes, media_type: str) -> bool:
    """Whether an answer of that `Content-Type` is FHIR, by what was asked for and how."""
    if classified.interaction not in _READS or classified.resource_type != "Binary":
        return True
    return _kind(media_type) == _FHIR_NDJSON or _asks_for_fhir(accept, query)


def request_is_fhir(classified: Classified, media_type: str) -> bool:
    """Whether a request's body of that `Content-Type` is FHIR."""
    if classified.interaction not in _WRITES or classified.resource_type != "Binary":
        return True
    return _kind(media_type) in _RESOURCE_TYPES


def _asks_for_fhir(accept: str, query: bytes) -> bool:
    formats = [value for name, value in parse_qsl(query.decode("latin-1")) if name == "_format"]
    # A plus sign that is not encoded arrives as the space that it stands for in a form.
    if any(_kind(value).replace(" ", "+") in _FORMATS for value in formats):
        return True
    return any(_kind(one) in _FHIR_TYPES for one in accept.split(","))


def _kind(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()
