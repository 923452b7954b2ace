"""Whether a body is FHIR or the content of a Binary, whose bytes are not the proxy's to change.

`Binary/[id]` has two faces (FHIR R4, Binary, "Serving Binary Resources using the RESTful API"): the
resource, if FHIR's own types are asked for, else its content under its own media type. That content can be
JSON or XML which looks like FHIR, and whoever stored it holds its hash.

| request                          | the tool asks for or sends  | Content-Type of the body   | body is     |
|----------------------------------|-----------------------------|----------------------------|-------------|
| read or vread of a Binary        | FHIR, by Accept or _format  | any                        | FHIR        |
|                                  | anything else               | application/fhir+ndjson    | FHIR        |
|                                  |                             | any other                  | its content |
| create or update of a Binary     | application/fhir+json, +xml |                            | FHIR        |
|                                  | a Binary as general JSON    |                            | FHIR        |
|                                  | a Binary as general XML     |                            | FHIR        |
|                                  | anything else               |                            | its content |
| anything else, NDJSON files too  |                             | any                        | FHIR        |

The second row is for servers that keep the files of a bulk export as Binaries, as HAPI does. A body of a general
type that begins as a Binary resource does is one for Microsoft's server, and its `securityContext` must not
hold a local address.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl

from ..model import Classified, Interaction, RequestHead
from .rewriting import Rewriter

_READS: Final = frozenset({Interaction.READ, Interaction.VREAD})
_WRITES: Final = frozenset({Interaction.CREATE, Interaction.UPDATE})

_FHIR_NDJSON: Final = "application/fhir+ndjson"
_RESOURCE_TYPES: Final = frozenset(
    {"application/fhir+json", "application/fhir+xml", "application/json+fhir", "application/xml+fhir"}
)
"""FHIR's own media types (R4, RESTful API, "Content Types and encodings"), and DSTU2's."""

_FHIR_TYPES: Final = _RESOURCE_TYPES | {_FHIR_NDJSON}

_GENERAL_TYPES: Final = frozenset({"application/json", "application/xml", "text/json", "text/xml"})

_FORMATS: Final = _FHIR_TYPES | _GENERAL_TYPES | {"json", "xml"}
"""Values of `_format`, which asks for FHIR even by a general type (same place)."""


def answer_is_fhir(request: RequestHead, classified: Classified, media_type: str) -> bool:
    """Whether an answer of that `Content-Type` is FHIR, by what was asked for and how."""
    if classified.interaction not in _READS or classified.resource_type != "Binary":
        return True
    query = request.target.partition(b"?")[2]
    return _kind(media_type) == _FHIR_NDJSON or _asks_for_fhir(request.fields.text(b"accept"), query)


def sparing_content(classified: Classified, media_type: str, rewriter: Rewriter) -> Rewriter | None:
    """The rewriter as far as a request's body of that `Content-Type` is FHIR; None where it is not."""
    kind = _kind(media_type)
    writes_binary = classified.interaction in _WRITES and classified.resource_type == "Binary"
    if not writes_binary or kind in _RESOURCE_TYPES:
        return rewriter
    return _ResourceOnly(rewriter) if kind in _GENERAL_TYPES else None


_BINARY: Final = re.compile(
    rb"""\s*(?:\{\s*"resourceType"\s*:\s*"Binary"|(?:<\?xml[^>]*>\s*)?<(?:[A-Za-z][\w.-]*:)?Binary[\s/>])"""
)

_LOOKED_AT: Final = 512
"""Bytes that tell a Binary: serializers write what a resource is first, after an XML declaration at most."""


class _ResourceOnly:
    """Rewrites a body that begins as a Binary resource does, and passes any other as it is."""

    __slots__ = ("_begin", "_decided", "_rewriter")

    def __init__(self, rewriter: Rewriter) -> None:
        self._begin = b""
        self._decided = False
        self._rewriter: Rewriter | None = rewriter

    def feed(self, chunk: bytes) -> bytes:
        if not self._decided:
            self._begin += chunk
            if len(self._begin) < _LOOKED_AT:
                return b""
            chunk = self._decide()
        return self._rewriter.feed(chunk) if self._rewriter else chunk

    def flush(self) -> bytes:
        rest = b"" if self._decided else self._decide()
        return self._rewriter.feed(rest) + self._rewriter.flush() if self._rewriter else rest

    def whole(self, body: bytes) -> bytes:
        return self.feed(body) + self.flush()

    def _decide(self) -> bytes:
        self._decided = True
        begin, self._begin = self._begin, b""
        if not _BINARY.match(begin.removeprefix(b"\xef\xbb\xbf")):
            self._rewriter = None
        return begin


def _asks_for_fhir(accept: str, query: bytes) -> bool:
    formats = [value for name, value in parse_qsl(query.decode("latin-1")) if name == "_format"]
    # A plus sign that is not encoded arrives as the space that it stands for in a form.
    if any(_kind(value).replace(" ", "+") in _FORMATS for value in formats):
        return True
    return any(_kind(one) in _FHIR_TYPES for one in accept.split(","))


def _kind(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()
