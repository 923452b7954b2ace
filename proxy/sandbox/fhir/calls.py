"""One interaction as a value and its answer as another; no sockets here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime

from .json_text import write
from .spellings import Links, Pairs
from .store import Version

FHIR_JSON = "application/fhir+json; charset=utf-8"
NDJSON = "application/fhir+ndjson"


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked: `path` is decoded and below the base, `names` are the parts that its route found."""

    method: str
    path: str
    query: Pairs
    fields: Mapping[str, str]
    body: bytes = field(repr=False)
    links: Links
    names: Mapping[str, str] = field(default_factory=dict)

    def parameter(self, name: str) -> str:
        """Return the first value of a query parameter, or ""."""
        return next((value for key, value in self.query if key == name), "")

    def prefers(self, preference: str) -> bool:
        """Whether a Prefer field (RFC 7240) holds the preference, such as `respond-async`."""
        return preference in {
            part.strip() for part in self.fields.get("Prefer", "").replace(";", ",").split(",")
        }


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer: status, fields, body."""

    status: int
    fields: Pairs = ()
    body: bytes = field(default=b"", repr=False)


def json_reply(status: int, value: object, links: Links, fields: Pairs = ()) -> Reply:
    """Return FHIR JSON, its links spelled as the server is told to."""
    return Reply(status, (*fields, ("Content-Type", FHIR_JSON)), write(value, links.spelling.escape).encode())


def http_date(moment: datetime) -> str:
    """Return an RFC 9110 date; whole seconds."""
    return format_datetime(moment, usegmt=True)


def validators(version: Version) -> Pairs:
    """Return ETag and Last-Modified of a version."""
    return (("ETag", version.etag), ("Last-Modified", http_date(version.moment)))


def version_reply(status: int, version: Version, call: Call, fields: Pairs = ()) -> Reply:
    """Return a resource as stored; 304 and `return=minimal` are decided by the interactions."""
    content = (*fields, *validators(version), ("Content-Type", FHIR_JSON))
    if call.method != "GET" and call.prefers("return=minimal"):
        return Reply(status, content[:-1])
    return Reply(status, content, version.text.encode())


def location(version: Version, links: Links) -> Pairs:
    """Return the Location of a version: absolute, with its history path."""
    return (("Location", str(links.to(version.history_path))),)
