from __future__ import annotations

import pytest

from proxy.model import Fields, RequestHead
from proxy.rules.binaries import answer_is_fhir, sparing_content
from proxy.rules.interactions import classify

FHIR_JSON, FHIR_XML, FHIR_NDJSON = "application/fhir+json", "application/fhir+xml", "application/fhir+ndjson"
GENERAL = (
    "application/json",
    "text/json; charset=utf-8",
    "application/xml",
    "text/xml",
    "application/x-ndjson",
    "",
)


@pytest.mark.parametrize(
    ("path", "accept", "query", "media_type", "expected"),
    [
        # nothing asked, or nothing of FHIR: the content
        *(("Binary/1", accept, "", kind, False) for accept in ("", "*/*", "application/json", "application/xml, */*;q=0.1") for kind in (*GENERAL, FHIR_JSON)),
        ("Binary/1/_history/2", "", "", "application/json", False),
        ("Binary/1", "", "_format=application/pdf", "application/json", False),
        ("Binary/1", "", "format=json", "application/json", False),
        # FHIR asked for: the resource
        *(("Binary/1", accept, "", kind, True) for accept in (FHIR_JSON, "Application/FHIR+XML; fhirVersion=4.0", f"text/html, {FHIR_NDJSON};q=0.9", "application/json+fhir") for kind in GENERAL),
        *(("Binary/1", "*/*", f"_format={asked}", "application/json", True) for asked in ("json", "xml", "application/fhir+json", "application/fhir%2Bjson", "text%2Fxml", "JSON")),
        ("Binary/1", "application/pdf", "_pretty=true&_format=json", FHIR_JSON, True),
        # a bulk export's file, which HAPI keeps as a Binary
        ("Binary/1", "", "", "application/fhir+ndjson; charset=utf-8", True),
        # no Binary
        *((path, "", "", kind, True) for path in ("Patient/1", "_files/7", "Binary", "Binary/1/_history", "$export", "_operations/export/7", "Binary/1/$meta", "BinaryX/1") for kind in (*GENERAL, FHIR_NDJSON)),
    ],
)  # fmt: skip
def test_answer(path: str, accept: str, query: str, media_type: str, expected: bool) -> None:
    classified = classify("GET", path.encode())
    fields = Fields.of([("Accept", accept)] if accept else [])
    request = RequestHead("GET", f"/{path}?{query}".encode(), fields)

    assert expected == answer_is_fhir(request, classified, media_type)


class Upper:
    """A rewriter whose work is seen."""

    def feed(self, chunk: bytes) -> bytes:
        return chunk.upper()

    def flush(self) -> bytes:
        return b"!"

    def whole(self, body: bytes) -> bytes:
        return self.feed(body) + self.flush()


def sent(method: str, path: str, media_type: str, body: bytes, size: int = 1 << 20) -> bytes:
    rewriter = sparing_content(classify(method, path.encode()), media_type, Upper())
    if rewriter is None:
        return body
    pieces = [rewriter.feed(body[at : at + size]) for at in range(0, len(body), size)]
    return b"".join([*pieces, rewriter.flush()])


CONTENT = b'{"resourceType":"Bundle"}'


@pytest.mark.parametrize(
    ("method", "path", "media_type", "is_rewritten"),
    [
        *((method, path, kind, kind in {FHIR_JSON, FHIR_XML}) for method, path in (("POST", "Binary"), ("PUT", "Binary/1")) for kind in (*GENERAL, FHIR_JSON, FHIR_XML, FHIR_NDJSON)),
        ("POST", "Binary", "Application/FHIR+JSON; fhirVersion=4.0", True),
        *((method, path, "application/json", True) for method, path in (("PATCH", "Binary/1"), ("POST", "Patient"), ("PUT", "Patient/1"), ("POST", "Binary/_search"), ("POST", ""))),
    ],
)  # fmt: skip
def test_request(method: str, path: str, media_type: str, is_rewritten: bool) -> None:
    assert (CONTENT.upper() + b"!" if is_rewritten else CONTENT) == sent(method, path, media_type, CONTENT)


@pytest.mark.parametrize("size", [1, 7, 511, 512, 1 << 20])
@pytest.mark.parametrize("length", [0, 600])
@pytest.mark.parametrize(
    ("begin", "is_resource"),
    [
        (b'{"resourceType":"Binary"', True),
        (b'\xef\xbb\xbf\n{ "resourceType" : "Binary" ,', True),
        (b'<Binary xmlns="http://hl7.org/fhir">', True),
        (b'<?xml version="1.0" encoding="UTF-8"?>\n<f:Binary>', True),
        (b"", False),
        (b'{"resourceType":"BinaryX"', False),
        (b'{"type":{"resourceType":"Binary"}', False),
        (b'[{"resourceType":"Binary"}', False),
        (b"<BinaryX>", False),
        (b"<a><Binary>", False),
    ],
)
def test_general_types_are_fhir_if_they_begin_so(
    begin: bytes, is_resource: bool, length: int, size: int
) -> None:
    body = begin + b"x" * length
    rewritten = body.upper() + b"!" if is_resource else body

    assert rewritten == sent("PUT", "Binary/1", "application/json", body, size)
