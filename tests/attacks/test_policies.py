"""A proxy that may only read: whatever a tool writes into method, path, fields or a batch, nothing is written."""

from __future__ import annotations

import json

import pytest

from .ground import BASE, OK, assert_is_ours, get, ground, head, post

JSON = b"Content-Type: application/fhir+json"


def batch(*entries: tuple[str, str], kind: str = "batch") -> bytes:
    requests = [{"request": {"method": method, "url": url}} for method, url in entries]
    return json.dumps({"resourceType": "Bundle", "type": kind, "entry": requests}).encode()


def bundle(body: bytes, *lines: bytes, target: bytes = BASE + b"/") -> bytes:
    return head(b"POST", target, *(lines or (JSON,)), b"Content-Length: %d" % len(body)) + body


WRITES = [
    # A method that writes, or one that becomes it further on
    post(JSON, target=BASE + b"/Patient"),
    head(b"PUT", BASE + b"/Patient/1", JSON, b"Content-Length: 2") + b"{}",
    head(b"PATCH", BASE + b"/Patient/1", JSON, b"Content-Length: 2") + b"[]",
    head(b"DELETE", BASE + b"/Patient/1"),
    head(b"DELETE", BASE + b"/Patient?name=%x"),
    head(b"DELETE", BASE + b"/Patient/1/$purge-history"),
    # An operation that starts something, in the spellings that servers read alike
    get(BASE + b"/$reindex"),
    get(BASE + b"/$export"),
    get(BASE + b"/%24export"),
    get(BASE + b"/Patient/$export"),
    get(BASE + b"/Group/1/$export"),
    get(BASE + b"/$EXPORT"),
    get(BASE + b"/$export/"),
    get(BASE + b"/$unknown-operation"),
    get(BASE + b"/Patient/1/$unknown-operation"),
    post(JSON, target=BASE + b"/$import"),
    post(JSON, target=BASE + b"/Patient/$match-and-merge"),
    get(BASE + b"/Patient", b"Prefer: respond-async"),
    get(BASE + b"/Patient", b"Prefer: return=minimal, Respond-Async"),
    get(BASE + b"/Patient", b"Prefer: return=minimal", b"Prefer: respond-async"),
    # A search that is none
    post(JSON, target=BASE + b"/Patient/_search/1"),
    post(JSON, target=BASE + b"/_search%3F"),
    # A batch with one write in it, or one that two readers take for two things
    bundle(batch(("GET", "Patient/1"), ("DELETE", "Patient/1"))),
    bundle(batch(("GET", "Patient/1"), ("PUT", "Patient/1")), target=BASE),
    bundle(batch(("POST", "Patient"), kind="transaction")),
    bundle(batch(("get", "Patient/1"))),
    bundle(batch(("GET ", "Patient/1"))),
    bundle(batch(("GET", "$reindex"))),
    bundle(batch(("GET", "Patient/../$reindex"))),
    bundle(batch(("GET", "Patient/%2e%2e/$reindex"))),
    bundle(batch(("GET", "https://evil.example/Patient/1"))),
    bundle(batch(("GET", "//evil.example/Patient/1"))),
    bundle(batch(("POST", ""))),
    bundle(b'{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","method":"DELETE","url":"Patient/1"}}]}'),
    bundle(b'{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":"Patient/1"},"Request":{"method":"DELETE","url":"Patient/1"}}]}'),
    bundle(b'{"resourceType":"Bundle","type":"batch","type":"transaction","entry":[]}'),
    bundle(b'{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":"Patient/1"}}],"entry":[{"request":{"method":"DELETE","url":"Patient/1"}}]}'),
    bundle(b'{"resourceType":"Bundle","type":"collection","entry":[]}'),
    bundle(b"\xef\xbb\xbf" + batch(("DELETE", "Patient/1"))),
    bundle(batch(("DELETE", "Patient/1")), b"Content-Type: application/fhir+json; charset=utf-16"),
    bundle(batch(("GET", "Patient/1")).decode().encode("utf-16"), b"Content-Type: application/fhir+json; charset=utf-16"),
    bundle(batch(("DELETE", "Patient/1")), b"Content-Type: text/plain"),
    bundle(batch(("GET", "Patient/1")), JSON, b"Content-Encoding: gzip"),
    bundle(b"{" * 20000),
    bundle(batch(*[("GET", "Patient/1")] * 9000)),
]  # fmt: skip


@pytest.mark.parametrize("request_bytes", WRITES, ids=range(len(WRITES)))
async def test_read_only_proxy_writes_nothing(request_bytes: bytes) -> None:
    async with ground(policy="read-only") as here:
        answers = await here.ask(request_bytes)

        assert [] == here.upstream.requests
        assert [answer.status for answer in answers] in ([400], [403], [404], [413], [415])
        assert_is_ours(answers[0])
        assert await here.is_healthy()


OVERRIDES = [
    b"X-HTTP-Method-Override: DELETE",
    b"X-HTTP-Method: PUT",
    b"X-Method-Override: PATCH",
    b"x-http-method-override: delete",
    b"X_HTTP_Method_Override: DELETE",
]


@pytest.mark.parametrize("line", OVERRIDES)
async def test_override_of_the_method_never_reaches_the_server(line: bytes) -> None:
    async with ground(policy="read-only") as here:
        await here.ask(get(BASE + b"/Patient/1", line))

        for request in here.upstream.requests:
            assert b"GET" == request.method
            assert not any(b"override" in name or b"method" in name for name, _ in request.fields.lines)


READS = [
    get(BASE + b"/Patient/1"),
    get(BASE + b"/Patient/1/_history/2"),
    get(BASE + b"/Patient?_id=1"),
    get(BASE + b"/metadata"),
    get(BASE + b"/Patient/1/$everything"),
    head(b"HEAD", BASE + b"/Patient/1"),
    head(b"POST", BASE + b"/Patient/_search", b"Content-Type: application/x-www-form-urlencoded", b"Content-Length: 5") + b"_id=1",
    bundle(batch(("GET", "Patient/1"), ("GET", "Observation?patient=1"))),
    bundle(b'{"resourceType":"Bundle","type":"batch"}'),
]  # fmt: skip


@pytest.mark.parametrize("request_bytes", READS, ids=range(len(READS)))
async def test_read_only_proxy_reads(request_bytes: bytes) -> None:
    """The control: a proxy that refuses everything fails here."""
    async with ground(OK, policy="read-only") as here:
        [answer] = await here.ask(request_bytes)

        assert 200 == answer.status
        assert 1 == len(here.upstream.requests)
