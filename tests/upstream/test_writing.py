from __future__ import annotations

import pytest

from proxy.model import Fields, RequestHead
from proxy.upstream.writing import Framing, request_message


def head(method: str = "GET", target: bytes = b"/Patient", *lines: tuple[bytes, bytes]) -> RequestHead:
    return RequestHead(method, target, Fields(((b"Host", b"fhir.example"), *lines)))


WRITTEN = [
    ("GET", False, (), b"", Framing.NONE, 0),
    ("HEAD", False, (), b"", Framing.NONE, 0),
    ("DELETE", False, (), b"", Framing.NONE, 0),
    ("POST", False, (), b"Content-Length: 0\r\n", Framing.NONE, 0),
    ("PUT", False, (), b"Content-Length: 0\r\n", Framing.NONE, 0),
    ("PATCH", False, (), b"Content-Length: 0\r\n", Framing.NONE, 0),
    ("POST", False, ((b"content-length", b"0"),), b"content-length: 0\r\n", Framing.NONE, 0),
    ("POST", True, (), b"Transfer-Encoding: chunked\r\n", Framing.CHUNKED, 0),
    ("GET", True, (), b"Transfer-Encoding: chunked\r\n", Framing.CHUNKED, 0),
    ("POST", True, ((b"CONTENT-length", b"12"),), b"CONTENT-length: 12\r\n", Framing.LENGTH, 12),
]


@pytest.mark.parametrize(("method", "body_exists", "lines", "added", "framing", "length"), WRITTEN)
def test_head_is_written_as_it_is_with_its_framing(
    method: str,
    body_exists: bool,
    lines: tuple[tuple[bytes, bytes], ...],
    added: bytes,
    framing: Framing,
    length: int,
) -> None:
    message = request_message(head(method, b"/Patient?a=%2f|+,&a=b", *lines), body_exists=body_exists)

    expected = (
        method.encode() + b" /Patient?a=%2f|+,&a=b HTTP/1.1\r\nHost: fhir.example\r\n" + added + b"\r\n"
    )
    assert (message.head, message.framing, message.length) == (expected, framing, length)


REFUSED = {
    "CR LF in a value": (head("GET", b"/", (b"A", b"b\r\nEvil: c")), False),
    "LF in a value": (head("GET", b"/", (b"A", b"b\nEvil: c")), False),
    "CR in a value": (head("GET", b"/", (b"A", b"b\rc")), False),
    "NUL in a value": (head("GET", b"/", (b"A", b"b\0")), False),
    "CR LF in a name": (head("GET", b"/", (b"A: b\r\nEvil", b"c")), False),
    "CR LF in the target": (head("GET", b"/ HTTP/1.1\r\nHost: evil\r\n\r\nGET /"), False),
    "LF in the target": (head("GET", b"/\n"), False),
    "space in the target": (head("GET", b"/a b"), False),
    "absolute target": (head("GET", b"http://evil/"), False),
    "no target": (head("GET", b""), False),
    "method with a space": (head("GET /evil"), False),
    "method with a line end": (head("GET\r\n"), False),
    "no method": (head(""), False),
    "Transfer-Encoding of its own": (head("POST", b"/", (b"Transfer-Encoding", b"chunked")), True),
    "two Content-Lengths": (head("POST", b"/", (b"Content-Length", b"1"), (b"content-length", b"1")), True),
    "negative Content-Length": (head("POST", b"/", (b"Content-Length", b"-1")), True),
    "signed Content-Length": (head("POST", b"/", (b"Content-Length", b"+1")), True),
    "list of Content-Lengths": (head("POST", b"/", (b"Content-Length", b"1, 1")), True),
    "huge Content-Length": (head("POST", b"/", (b"Content-Length", b"9" * 19)), True),
    "length without a body": (head("POST", b"/", (b"Content-Length", b"1")), False),
}


@pytest.mark.parametrize("case", REFUSED)
def test_head_that_could_be_two_is_never_written(case: str) -> None:
    request, body_exists = REFUSED[case]

    with pytest.raises(ValueError, match=r"^the request") as caught:
        request_message(request, body_exists=body_exists)
    assert "evil" not in str(caught.value).lower()


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("GET", True),
        ("HEAD", True),
        ("OPTIONS", True),
        ("PUT", True),
        ("DELETE", True),
        ("POST", False),
        ("PATCH", False),
    ],
)
def test_idempotent_methods(method: str, expected: bool) -> None:
    assert request_message(head(method), body_exists=False).idempotent is expected


@pytest.mark.parametrize(
    ("value", "body_exists", "expected"),
    [(b"100-continue", True, True), (b"100-Continue", True, True), (b"100-continue", False, False)],
)
def test_expectation_waits_only_before_a_body(value: bytes, body_exists: bool, expected: bool) -> None:
    message = request_message(head("PUT", b"/", (b"Expect", value)), body_exists=body_exists)

    assert message.waits_for_continue is expected
