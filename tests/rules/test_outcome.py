import json
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import errors
from proxy.errors import (
    AuthenticationFailed,
    BadRequest,
    MethodNotAllowed,
    Misdirected,
    ProxyError,
    ProxyUnavailable,
    SignInRequired,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from proxy.rules.guards import METHODS
from proxy.rules.headers import SECURITY_FIELDS
from proxy.rules.outcome import outcome

ALL_ERRORS = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ProxyError)
]
FHIR = "{http://hl7.org/fhir}"
# http://hl7.org/fhir/R4/valueset-issue-type.html
ISSUE_TYPES = {
    "invalid", "structure", "required", "value", "invariant", "security", "login", "unknown", "expired",
    "forbidden",
    "suppressed", "processing", "not-supported", "duplicate", "multiple-matches", "not-found",
    "deleted", "too-long",
    "code-invalid", "extension", "too-costly", "business-rule", "conflict", "transient", "lock-error",
    "no-store",
    "exception", "timeout", "incomplete", "throttled", "informational",
}  # fmt: skip


def read_json(body: bytes) -> dict[str, str]:
    document = json.loads(body)
    (issue,) = document["issue"]
    assert document["resourceType"] == "OperationOutcome"
    issue["details"] = issue.get("details", {}).get("text", "")
    return {name: issue.get(name, "") for name in ("severity", "code", "details", "diagnostics")}


def read_xml(body: bytes) -> dict[str, str]:
    root = ElementTree.fromstring(body)
    (issue,) = root
    assert (root.tag, issue.tag) == (FHIR + "OperationOutcome", FHIR + "issue")
    paths = {"severity": "severity", "code": "code", "details": "details/text", "diagnostics": "diagnostics"}
    found = {name: issue.find(FHIR + path.replace("/", "/" + FHIR)) for name, path in paths.items()}
    return {name: "" if element is None else element.get("value", "") for name, element in found.items()}


@pytest.mark.parametrize("kind", ALL_ERRORS)
def test_each_error_is_told_in_both_forms(kind: type[ProxyError]) -> None:
    error = kind("What 'happened' <here> & there", hint='Do "this".')
    expected = {
        "severity": "error",
        "code": kind.issue_code,
        "details": "What 'happened' <here> & there",
        "diagnostics": 'Do "this".',
    }
    json_head, json_body = outcome(error, accept="")
    xml_head, xml_body = outcome(error, accept="application/fhir+xml")

    assert read_json(json_body) == read_xml(xml_body) == expected
    assert json_head.status == xml_head.status == kind.status
    assert json_head.fields.text(b"content-type") == "application/fhir+json; charset=utf-8"
    assert xml_head.fields.text(b"content-type") == "application/fhir+xml; charset=utf-8"


@pytest.mark.parametrize("kind", ALL_ERRORS)
def test_each_error_has_a_status_and_a_code_that_fhir_knows(kind: type[ProxyError]) -> None:
    assert 400 <= kind.status <= 599
    assert kind.issue_code in ISSUE_TYPES


@pytest.mark.parametrize("kind", ALL_ERRORS)
def test_no_tool_is_made_to_sign_in(kind: type[ProxyError]) -> None:
    head, _ = outcome(kind("x"), accept="")

    assert head.status not in {401, 407}
    assert b"www-authenticate" not in head.fields


def test_the_whole_head() -> None:
    head, body = outcome(ProxyUnavailable("Stopping", retry_after=7), accept="")

    assert (head.status, head.reason) == (503, b"Service Unavailable")
    assert head.fields.lines == (
        (b"Content-Type", b"application/fhir+json; charset=utf-8"),
        (b"Content-Length", str(len(body)).encode()),
        (b"Cache-Control", b"no-store"),
        (b"Proxy-Status", b'fhir-auth-proxy; error=proxy_internal_response; details="Stopping"'),
        (b"Retry-After", b"7"),
        *SECURITY_FIELDS,
    )


def test_retry_after_zero_is_told() -> None:
    assert outcome(ProxyError("x", retry_after=0), accept="")[0].fields.text(b"retry-after") == "0"


def test_refused_method_comes_with_those_allowed() -> None:
    assert outcome(MethodNotAllowed("x"), accept="")[0].fields.text(b"allow") == ", ".join(METHODS)
    assert b"allow" not in outcome(BadRequest("x"), accept="")[0].fields


def test_error_without_words_says_its_code() -> None:
    for accept, read in (("", read_json), ("text/xml", read_xml)):
        body = outcome(UpstreamTimeout(""), accept=accept)[1]

        assert read(body) == {"severity": "error", "code": "timeout", "details": "", "diagnostics": ""}
        assert b"details" not in body
        assert b"diagnostics" not in body


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("application/*", "json"),
        ("application/fhir+json", "json"),
        ("application/json", "json"),
        ("application/fhir+ndjson", "json"),
        ("text/html", "json"),
        ("text/turtle", "json"),
        ("application/pdf", "json"),
        ("application/fhir+xml", "xml"),
        ("application/xml", "xml"),
        ("text/xml", "xml"),
        ("APPLICATION/FHIR+XML", "xml"),
        ("application/fhir+xml; fhirVersion=4.0", "xml"),
        ("application/xml+fhir;charset=utf-8", "xml"),
        # quality
        ("application/fhir+xml;q=1.0, application/fhir+json;q=1.0", "json"),
        ("application/fhir+xml, application/fhir+json;q=0.9", "xml"),
        ("application/fhir+xml;q=0.5, application/fhir+json;q=0.9", "json"),
        ("application/fhir+json;q=0.5,application/fhir+xml ; Q = 0.501", "xml"),
        ("application/fhir+xml, */*;q=0.1", "xml"),
        ("application/fhir+xml;q=0, */*", "json"),
        ("application/fhir+json;q=0, */*", "xml"),
        ("application/fhir+xml;q=0.1, */*", "json"),
        ("application/fhir+xml;q=0", "json"),
        ("application/fhir+xml;q=nonsense", "xml"),
        ("application/fhir+xml;fhirVersion=4.0;q=0.2;x=y, application/json;q=0.1", "xml"),
        # a browser
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "json"),
        # hardly lists
        (",,;q=1,/;", "json"),
        ("application/fhir+xml,,", "xml"),
    ],
)
def test_form_by_accept(accept: str, form: str) -> None:
    assert (
        outcome(ProxyError("x"), accept=accept)[0]
        .fields.text(b"content-type")
        .startswith(f"application/fhir+{form};")
    )


@pytest.mark.parametrize(
    ("query", "form"),
    [
        (b"_format=json", "json"),
        (b"_format=application/fhir+json", "json"),
        (b"_format=application%2Ffhir%2Bjson", "json"),
        (b"_format=ndjson", "json"),
        (b"_format=html", "json"),
        (b"_format=text/html", "json"),
        (b"_format=ttl", "json"),
        (b"name=x&_format=xml", "xml"),
        (b"_format=text/xml&_format=json", "xml"),
        (b"_format=application/fhir+xml", "xml"),
        (b"_format=application%2Ffhir%2bxml%3B%20fhirVersion=4.0", "xml"),
        (b"_format=XML", "xml"),
    ],
)
@pytest.mark.parametrize("accept", ["application/fhir+json", "application/fhir+xml", ""])
def test_form_by_query_goes_before_accept(query: bytes, form: str, accept: str) -> None:
    head, _ = outcome(ProxyError("x"), accept=accept, query=query)

    assert head.fields.text(b"content-type").startswith(f"application/fhir+{form};")


@pytest.mark.parametrize(
    "query", [b"", b"_format", b"_format=", b"format=json", b"x=_format=json", b"%ff=%zz&&=;"]
)
def test_other_query_leaves_it_to_accept(query: bytes) -> None:
    head, _ = outcome(ProxyError("x"), accept="text/xml", query=query)

    assert head.fields.text(b"content-type").startswith("application/fhir+xml;")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ProxyError("x"), "proxy_internal_error"),
        (Misdirected("x"), "http_request_denied"),
        (BadRequest("x"), "http_request_error"),
        (SignInRequired("x"), "proxy_internal_response"),
        (AuthenticationFailed("x"), "proxy_configuration_error"),
        (UpstreamUnreachable("x"), "destination_unavailable"),
        (UpstreamTimeout("x"), "http_response_timeout"),
    ],
)
def test_marker_names_the_kind(error: ProxyError, expected: str) -> None:
    assert (
        outcome(error, accept="")[0].fields.text(b"proxy-status")
        == f'fhir-auth-proxy; error={expected}; details="x"'
    )


def test_marker_escapes_and_bounds_its_details() -> None:
    head, _ = outcome(ProxyError('a"b\\c\r\nd: é\t' + "x" * 1000), accept="")
    details = head.fields.text(b"proxy-status").partition("details=")[2]

    assert details == '"a\\"b\\\\c d: ? ' + "x" * 489 + '"'


texts = (
    st.text() | st.text(st.characters(codec="latin-1")) | st.text("\r\n\t\x00\x1b\x85\ud800\ufffe\"\\<>&']]>")
)


@given(texts, texts, st.text(max_size=40), st.binary(max_size=40))
def test_any_text_comes_back_from_both_forms(message: str, hint: str, accept: str, query: bytes) -> None:
    error = ProxyError(message, hint=hint)
    head, body = outcome(error, accept="application/fhir+json")
    xml_body = outcome(error, accept="application/fhir+xml")[1]
    found = read_json(body)

    assert read_xml(xml_body) == found
    assert (
        found["details"]
        == re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "", message).strip()
    )
    assert not any(character < " " and character not in "\t\r\n" for character in found["details"])
    assert re.fullmatch(
        rb'fhir-auth-proxy; error=[a-z_]+; details="(?:[ !#-\[\]-~]|\\["\\])*"',
        head.fields.get(b"proxy-status") or b"",
    )
    assert outcome(error, accept=accept, query=query)[1] in {body, xml_body}
