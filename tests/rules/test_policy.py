from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import BodyTooLarge, RequestRefused
from proxy.model import BaseUrl, Fields, RequestHead
from proxy.rules.interactions import classify, is_read
from proxy.rules.policy import Policy

BASE = BaseUrl.parse("https://fhir.example/r4")
JSON = Fields.of([("Content-Type", "application/fhir+json; charset=utf-8; fhirVersion=4.0")])
READ_ONLY = Policy(BASE, read_only=True, allow=())
EVERYTHING = Policy(BASE, read_only=False, allow=())


def allowing(*names: str, read_only: bool = False) -> Policy:
    return Policy(BASE, read_only=read_only, allow=names)


def check(policy: Policy, method: str, path: str, **fields: str) -> None:
    head = RequestHead(method, b"/r4/" + path.encode(), Fields.of(fields.items()))
    policy.check(head, classify(method, path.encode()))


PASSES = [
    (EVERYTHING, "DELETE", "Patient/1", {}),
    (EVERYTHING, "POST", "vendor", {"Prefer": "respond-async"}),
    (READ_ONLY, "GET", "metadata", {}),
    (READ_ONLY, "HEAD", "Patient/1", {}),
    (READ_ONLY, "GET", "Patient", {}),
    (READ_ONLY, "POST", "Patient/_search", {}),
    (READ_ONLY, "POST", "_search", {}),
    (READ_ONLY, "GET", "Patient/1/$everything", {}),
    (READ_ONLY, "POST", "ValueSet/$expand", {}),
    (READ_ONLY, "GET", "_operations/export/1", {}),
    (READ_ONLY, "POST", "", {}),  # its entries decide
    (allowing("read", "search-type"), "GET", "Patient/1", {}),
    (allowing("search-type"), "POST", "Patient/_search", {}),
    (allowing("$everything"), "GET", "Patient/1/$EVERYTHING", {}),
    (allowing("operation"), "POST", "$reindex", {}),
    (allowing("create"), "POST", "Patient", {}),
    (allowing("$export", "job"), "GET", "$export", {"Prefer": "respond-async"}),
    (allowing("$export", "job"), "DELETE", "_operations/export/1", {}),
    (allowing("job"), "POST", "", {"Prefer": "respond-async"}),
]
REFUSED = [
    (READ_ONLY, "POST", "Patient", {}, "create Patient"),
    (READ_ONLY, "PUT", "Patient/1", {}, "update Patient"),
    (READ_ONLY, "PATCH", "Patient/1", {}, "patch Patient"),
    (READ_ONLY, "DELETE", "Patient/1", {}, "delete Patient"),
    (READ_ONLY, "GET", "Patient/1/$reindex", {}, "operation Patient $reindex"),
    (READ_ONLY, "GET", "$export", {"Prefer": "respond-async"}, "job"),
    (READ_ONLY, "GET", "Patient", {"Prefer": "handling=lenient, RESPOND-async"}, "job"),
    (READ_ONLY, "POST", "", {"Prefer": "respond-async"}, "job"),
    (READ_ONLY, "DELETE", "_operations/export/1", {}, "job"),
    (READ_ONLY, "POST", "$graphql", {}, "operation $graphql"),
    (READ_ONLY, "GET", "vendor/x/y/z", {}, "other"),
    (allowing("read"), "GET", "Patient", {}, "search-type Patient"),
    (allowing("read"), "GET", "metadata", {}, "capabilities"),
    (allowing("$everything"), "GET", "Patient/1/$export", {}, "operation Patient $export"),
    (allowing("$export"), "GET", "$export", {"Prefer": "respond-async"}, "job"),
    (allowing("create", "read", read_only=True), "POST", "Patient", {}, "create Patient"),
    (allowing("read", read_only=True), "GET", "Patient", {}, "search-type Patient"),
]


@pytest.mark.parametrize(("policy", "method", "path", "fields"), PASSES)
def test_allowed_interaction_passes(policy: Policy, method: str, path: str, fields: dict[str, str]) -> None:
    check(policy, method, path, **fields)


@pytest.mark.parametrize(("policy", "method", "path", "fields", "named"), REFUSED)
def test_refusal_names_the_interaction_and_the_setting(
    policy: Policy, method: str, path: str, fields: dict[str, str], named: str
) -> None:
    with pytest.raises(RequestRefused) as refused:
        check(policy, method, path, **fields)

    assert refused.value.message.startswith(f"{named} is not allowed")
    assert refused.value.hint.startswith(("The setting is policy", "The setting is allow"))


def entry(method: str, url: str) -> dict[str, object]:
    return {"request": {"method": method, "url": url}}


def bundle(*entries: dict[str, object], kind: str = "batch") -> bytes:
    return json.dumps({"resourceType": "Bundle", "type": kind, "entry": entries}).encode()


READ = entry("GET", "Patient/1")

BATCHES_THAT_PASS = [
    (READ_ONLY, bundle(READ, entry("GET", "/Observation?code=1#x"), entry("POST", "Patient/_search"))),
    (READ_ONLY, bundle(READ, entry("GET", "https://fhir.example/r4/Patient/1"), kind="transaction")),
    (READ_ONLY, bundle(entry("GET", "https://fhir.example/r4?_type=Patient"))),
    (READ_ONLY, bundle()),
    (READ_ONLY, b'{"resourceType":"Bundle","type":"batch"}'),
    (allowing("read", "create"), bundle(READ, entry("POST", "Patient"))),
]
BATCHES_THAT_DO_NOT = [
    (READ_ONLY, bundle(READ, entry("POST", "Patient"))),
    (READ_ONLY, bundle(entry("get", "Patient/1"))),
    (READ_ONLY, bundle(entry("GET", "Patient/1/$reindex"))),
    (READ_ONLY, bundle(entry("GET", "Patient/1/%24reindex"))),
    (READ_ONLY, bundle(entry("GET", "https://evil.example/r4/Patient/1"))),
    (READ_ONLY, bundle(entry("GET", "https://fhir.example/r4x/Patient/1"))),
    (READ_ONLY, bundle(entry("GET", "//evil.example/Patient/1"))),
    (READ_ONLY, bundle(entry("GET", "Patient/../$reindex"))),
    (READ_ONLY, bundle(entry("GET", "Patient/%2e%2e/Patient"))),
    (READ_ONLY, bundle(entry("GET", "Pati\u00e9nt/1"))),
    (READ_ONLY, bundle(entry("POST", ""))),
    (READ_ONLY, bundle(READ, kind="message")),
    (READ_ONLY, bundle(READ, {"resource": {"resourceType": "Patient"}})),
    (READ_ONLY, b'{"resourceType":"Patient"}'),
    (READ_ONLY, b""),
    (READ_ONLY, b"[" * 100_000),
    (READ_ONLY, b"\xef\xbb\xbf" + bundle(READ)),
    (READ_ONLY, bundle(READ).decode().encode("utf-16")),
    (READ_ONLY, bundle(READ) + b" {}"),
    (READ_ONLY, bundle(READ).replace(b'"method": "GET"', b'"method": "DELETE", "method": "GET"')),
    (READ_ONLY, bundle(READ).replace(b'"method": "GET"', b'"Method": "DELETE", "method": "GET"')),
    (READ_ONLY, bundle(READ).replace(b'"method": "GET"', b'"m\\u0065thod": "DELETE", "method": "GET"')),
    (READ_ONLY, bundle(READ).replace(b'"entry"', b'"entry": [], "entry"')),
    (allowing("read"), bundle(READ, entry("GET", "Patient"))),
]


@pytest.mark.parametrize(("policy", "body"), BATCHES_THAT_PASS)
def test_batch_of_allowed_entries_passes(policy: Policy, body: bytes) -> None:
    assert policy.reads_body(classify("POST", b""))
    policy.check_batch(JSON, body)


@pytest.mark.parametrize(("policy", "body"), BATCHES_THAT_DO_NOT, ids=range(len(BATCHES_THAT_DO_NOT)))
def test_other_batches_are_refused(policy: Policy, body: bytes) -> None:
    with pytest.raises(RequestRefused) as refused:
        policy.check_batch(JSON, body)

    assert refused.value.status == 403
    assert "policy" in refused.value.hint or "allow" in refused.value.hint


def test_entry_that_is_refused_is_named() -> None:
    with pytest.raises(RequestRefused, match="Entry 1 of the batch: delete Patient is not allowed"):
        READ_ONLY.check_batch(JSON, bundle(READ, entry("DELETE", "Patient/1")))


FIELDS = [
    [],
    [("Content-Type", "application/fhir+xml")],
    [("Content-Type", "application/fhir+json; charset=utf-16")],
    [("Content-Type", "application/json; charset=utf-8; charset=utf-7")],
    [("Content-Type", "application/json"), ("Content-Type", "application/fhir+xml")],
    [("Content-Type", "application/json"), ("Content-Encoding", "gzip")],
]


@pytest.mark.parametrize("fields", FIELDS)
def test_batch_that_is_not_plain_json_is_refused(fields: list[tuple[str, str]]) -> None:
    with pytest.raises(RequestRefused, match="not plain JSON"):
        READ_ONLY.check_batch(Fields.of(fields), bundle(READ))


def test_batch_too_large_to_read_is_refused() -> None:
    with pytest.raises(BodyTooLarge, match="entry by entry"):
        READ_ONLY.check_batch(JSON, None)


def test_without_limits_no_body_is_read() -> None:
    assert not EVERYTHING.reads_body(classify("POST", b""))


URLS = st.one_of(
    st.text(max_size=40),
    st.lists(
        st.sampled_from(
            ["Patient", "1", "$reindex", "$everything", "..", ".", "%2e", "%24", "/", "?", ";", str(BASE)]
        ),
        max_size=6,
    ).map("/".join),
)


@given(method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"]), url=URLS)
def test_entry_that_passes_is_a_read_of_this_server(method: str, url: str) -> None:
    try:
        READ_ONLY.check_batch(JSON, bundle(entry(method, url)))
    except RequestRefused:
        return

    path = url.removeprefix(str(BASE)).partition("?")[0].removeprefix("/")
    assert is_read(classify(method, path.encode()), method)
    assert ".." not in path.split("/")
