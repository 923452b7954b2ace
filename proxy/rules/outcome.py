"""ProxyError -> OperationOutcome (FHIR R4 and R5), in JSON or XML as the tool asked.

Its marker is the field `Proxy-Status` (RFC 9209): an answer that has it was made by the proxy itself and not
by the server, whose own is dropped.
"""

from __future__ import annotations

import json
import re
from functools import cache
from http import HTTPStatus
from urllib.parse import parse_qsl

from ..errors import (
    AuthenticationFailed,
    BadRequest,
    BodyTooLarge,
    CodingNotSupported,
    ConfigError,
    FieldsTooLarge,
    MethodNotAllowed,
    NotFound,
    ProxyError,
    ProxyUnavailable,
    RequestRefused,
    SignInRequired,
    TargetTooLong,
    UploadTimeout,
    UpstreamProtocolError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from ..model import Fields, ResponseHead
from .guards import METHODS
from .headers import SECURITY_FIELDS

# RFC 9209 section 2.3; a class without a row has that of its base.
_PROXY_STATUS = {
    ProxyError: "proxy_internal_error",
    ConfigError: "proxy_configuration_error",
    RequestRefused: "http_request_denied",
    BadRequest: "http_request_error",
    NotFound: "http_request_error",
    MethodNotAllowed: "http_request_error",
    UploadTimeout: "http_request_error",
    BodyTooLarge: "http_request_error",
    TargetTooLong: "http_request_error",
    CodingNotSupported: "http_request_error",
    FieldsTooLarge: "http_request_error",
    SignInRequired: "proxy_internal_response",
    AuthenticationFailed: "proxy_configuration_error",
    UpstreamUnreachable: "destination_unavailable",
    UpstreamProtocolError: "http_protocol_error",
    UpstreamTimeout: "http_response_timeout",
    ProxyUnavailable: "proxy_internal_response",
}

_LONGEST_DETAILS = 500
"""Characters of `details` in Proxy-Status: some clients take fields of no more than 8 KiB together."""

# FHIR R4 section 3.1.0.1.11, with older names that servers know. Browsers show JSON, so HTML counts as that.
_JSON = frozenset(
    {
        "application/fhir+json",
        "application/fhir+ndjson",
        "application/json",
        "application/json+fhir",
        "application/ndjson",
        "application/x-ndjson",
        "json",
        "text/html",
        "text/json",
    }
)
_XML = frozenset({"application/fhir+xml", "application/xml", "application/xml+fhir", "text/xml", "xml"})
_ANY = frozenset({"*/*", "application/*"})

_QUALITY = re.compile(r";\s*q\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*(?:;|\Z)", re.IGNORECASE)
_XML_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
)


def outcome(error: ProxyError, *, accept: str, query: bytes = b"") -> tuple[ResponseHead, bytes]:
    """The answer that tells a failure to the tool, from its `Accept` field and its request's query."""
    media_type, write = _XML_FORM if _wants_xml(accept, query) else _JSON_FORM
    body = write(error.issue_code, _clean(error.message), _clean(error.hint))
    lines = [
        ("Content-Type", f"{media_type}; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("Proxy-Status", _proxy_status(error)),
    ]
    if error.retry_after is not None:
        lines.append(("Retry-After", str(error.retry_after)))
    if isinstance(error, MethodNotAllowed):
        lines.append(("Allow", ", ".join(METHODS)))  # RFC 9110 section 15.5.6
    fields = Fields.of(lines).adding(*SECURITY_FIELDS)
    return ResponseHead(error.status, HTTPStatus(error.status).phrase.encode("ascii"), fields), body


def _clean(text: str) -> str:
    """Text as FHIR's `string` has it: no control characters, no space at its ends (R4 section 2.24.0.1)."""
    return _not_in_xml().sub("", text).strip()


@cache
def _not_in_xml() -> re.Pattern[str]:
    """What XML 1.0 section 2.2 leaves out; it takes 3 ms to compile, and few starts tell of an error."""
    return re.compile("[^\t\n\r -~\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _json(code: str, details: str, diagnostics: str) -> bytes:
    issue: dict[str, object] = {"severity": "error", "code": code}
    if details:
        issue["details"] = {"text": details}
    if diagnostics:
        issue["diagnostics"] = diagnostics
    return json.dumps({"resourceType": "OperationOutcome", "issue": [issue]}, ensure_ascii=False).encode()


def _xml(code: str, details: str, diagnostics: str) -> bytes:
    parts = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<OperationOutcome xmlns="http://hl7.org/fhir"><issue>',
        f'<severity value="error"/><code value="{code}"/>',
        f'<details><text value="{details.translate(_XML_ESCAPES)}"/></details>' if details else "",
        f'<diagnostics value="{diagnostics.translate(_XML_ESCAPES)}"/>' if diagnostics else "",
        "</issue></OperationOutcome>",
    )
    return "".join(parts).encode()


_JSON_FORM = ("application/fhir+json", _json)
_XML_FORM = ("application/fhir+xml", _xml)


def _proxy_status(error: ProxyError) -> str:
    kind = next(_PROXY_STATUS[base] for base in type(error).__mro__ if base in _PROXY_STATUS)
    text = " ".join(error.message.split())[:_LONGEST_DETAILS]
    ascii_text = "".join(character if " " <= character <= "~" else "?" for character in text)
    escaped = ascii_text.replace("\\", "\\\\").replace('"', '\\"')  # RFC 8941 section 3.3.3
    return f'fhir-auth-proxy; error={kind}; details="{escaped}"'


def _wants_xml(accept: str, query: bytes) -> bool:
    """Whether to write XML: `_format` decides before `Accept` (FHIR R4 section 3.1.0.1.11), a tie is JSON."""
    for name, value in parse_qsl(query.decode("latin-1")):
        if name == "_format":
            return _media_type(value.replace(" ", "+")) in _XML  # an unencoded `+` was read as a space
    wishes = [(_media_type(element), _quality(element)) for element in accept.split(",")]
    return _best(wishes, _XML) > _best(wishes, _JSON)


def _media_type(text: str) -> str:
    return text.partition(";")[0].strip().lower()


def _quality(element: str) -> float:
    if ";" not in element or "q" not in element.lower():
        return 1.0
    found = _QUALITY.search(element)
    return float(found[1]) if found else 1.0


def _best(wishes: list[tuple[str, float]], media_types: frozenset[str]) -> float:
    """The highest quality of those types; where none is named, that of a range that holds them."""
    for group in (media_types, _ANY):
        qualities = [quality for media_type, quality in wishes if media_type in group]
        if qualities:
            return max(qualities)
    return 0.0
