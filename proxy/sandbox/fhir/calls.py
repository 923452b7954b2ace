"""One interaction as a value and its answer as another; no sockets here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime

from .json_text import Raw, Resource, read, write
from .outcome import FhirError
from .spellings import Links, Pairs
from .store import Version
from .xml_text import write_xml

_JSON = "application/fhir+json"
FHIR_JSON = f"{_JSON}; charset=utf-8"
FHIR_XML = "application/fhir+xml; charset=utf-8"
NDJSON = "application/fhir+ndjson"
_JSON_TYPES = frozenset({_JSON, "application/json", "text/json"})


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

    @property
    def formats(self) -> str:
        """What the answer may be written in, lower-case; `_format` comes before Accept."""
        return (self.parameter("_format") or self.fields.get("Accept", "*/*")).lower()

    @property
    def media_type(self) -> str:
        """The type of the body, without parameters; FHIR JSON unless the call says otherwise."""
        return self.fields.get("Content-Type", _JSON).partition(";")[0].strip().lower()

    def resource(self) -> Resource:
        """Return the resource of the body, or raise FhirError 400 or 415."""
        if self.media_type not in _JSON_TYPES:
            raise FhirError(415, "not-supported", f"The media type '{self.media_type}' is not supported.")
        return read(self.body)

    def prefers(self, preference: str) -> bool:
        """Whether a Prefer field (RFC 7240) holds the preference, such as `respond-async`."""
        return preference in {
            part.strip() for part in self.fields.get("Prefer", "").replace(";", ",").split(",")
        }


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer: status, fields, and a body or a resource that is still to be written."""

    status: int
    fields: Pairs = ()
    body: bytes = field(default=b"", repr=False)
    resource: object = field(default=None, repr=False)


def written(reply: Reply, call: Call) -> Reply:
    """Return the reply with its resource as a body, in the format asked for, links spelled as the server is told to."""
    if reply.resource is None:
        return reply
    spelling = call.links.spelling
    # As browsers ask, for XML among others, JSON comes first.
    if "xml" in call.formats and "json" not in call.formats and "*/*" not in call.formats:
        media_type, text = FHIR_XML, write_xml(reply.resource, spelling.xml_escape)
    else:
        media_type, text = FHIR_JSON, write(reply.resource, spelling.escape)
    return Reply(reply.status, (*reply.fields, ("Content-Type", media_type)), text.encode())


def plain_json(value: object, links: Links) -> Reply:
    """Return JSON that is not FHIR."""
    return Reply(200, (("Content-Type", "application/json"),), write(value, links.spelling.escape).encode())


def http_date(moment: datetime) -> str:
    """Return an RFC 9110 date; whole seconds."""
    return format_datetime(moment, usegmt=True)


def validators(version: Version) -> Pairs:
    """Return ETag and Last-Modified of a version."""
    return (("ETag", version.etag), ("Last-Modified", http_date(version.moment)))


def version_reply(status: int, version: Version, call: Call, fields: Pairs = ()) -> Reply:
    """Return a resource as stored; 304 and `return=minimal` are decided by the interactions."""
    content = (*fields, *validators(version))
    is_minimal = call.method != "GET" and call.prefers("return=minimal")
    return Reply(status, content, resource=None if is_minimal else Raw(version.text))


def location(version: Version, links: Links) -> Pairs:
    """Return the Location of a version: absolute, with its history path."""
    return (("Location", str(links.to(version.history_path))),)
