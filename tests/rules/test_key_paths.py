"""Host-relative URLs for tools that show their key in the path; bodies run whole and cut at every point."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import BaseUrl
from proxy.rules.rewriting import Rewriter, request_rewriter, response_rewriter
from proxy.rules.urls import UrlMap

KEY = "Secret-key_12345"
ORIGIN = "https://fhir.example.org"
BELOW, AT_ROOT = (
    UrlMap(BaseUrl.parse(ORIGIN + path), authorities=("localhost:8080",), key_path=f"/k/{KEY}")
    for path in ("/fhir/r4", "")
)
JSON, XML, FORM = "application/fhir+json", "application/fhir+xml", "application/x-www-form-urlencoded"


def local(url_map: UrlMap) -> bytes:
    return url_map.local_base(b"localhost:8080", b"/k/" + KEY.encode())


def fed(rewriter: Rewriter | None, *chunks: bytes) -> str:
    assert rewriter is not None
    return b"".join([*(rewriter.feed(chunk) for chunk in chunks), rewriter.flush()]).decode()


def cuts(text: str) -> list[tuple[bytes, ...]]:
    body = text.encode()
    every = tuple(body[at : at + 1] for at in range(len(body)))
    return [(body,), every, *((body[:at], body[at:]) for at in range(1, len(body)))]


def down(url_map: UrlMap, text: str, media_type: str = JSON) -> set[str]:
    return {fed(response_rewriter(media_type, url_map, local(url_map)), *chunks) for chunks in cuts(text)}


def up(url_map: UrlMap, text: str, media_type: str = JSON) -> set[str]:
    return {fed(request_rewriter(media_type, url_map), *chunks) for chunks in cuts(text)}


# Each as the server writes it, KEY where the key goes.
BODIES = [
    (BELOW, JSON, '{"link":[{"relation":"next","url":"KEY/fhir/r4/Patient?page=2&u=/fhir/r4"}]}'),
    (BELOW, JSON, '{"link":[{"url":"KEY/fhir/r4?_getpages=1"},{"url":"KEY/fhir/r4"},{"url":"/fhir/r4b"}]}'),
    (BELOW, JSON, r'{"reference":"KEY\/fhir\/r4\/Patient\/1","div":"<a href=\"/fhir/r4/Patient/1\">"}'),
    (BELOW, JSON, '{"url":"/fhir/r4/ValueSet/1","system":"/fhir/r4","reference":"Patient/1"}'),
    (BELOW, JSON, '{"reference":"/fhir","fullUrl":"//fhir/r4","reference":"x/fhir/r4"}'),
    (BELOW, XML, '<link><url value="KEY/fhir/r4/Patient?a=1&amp;b=2"/></link><url value="/fhir/r4/x"/>'),
    (BELOW, XML, "<reference value='KEY&#x2F;fhir&#47;r4&#x2F;Patient'/>"),
    (AT_ROOT, JSON, '{"link":[{"url":"KEY/Patient?page=2"},{"url":"KEY/"},{"url":"//other.example/x"}]}'),
    (AT_ROOT, JSON, r'{"reference":"KEY\/Patient\/1","reference":"\/\/other.example","name":"/Patient"}'),
]  # fmt: skip


def keyed(body: str) -> str:
    """The body as the tool gets it: the key's slashes are written as those after it."""
    for slash in (r"\/", "&#x2F;", "/"):
        body = body.replace("KEY" + slash, f"{slash}k{slash}{KEY}{slash}")
    return body


@pytest.mark.parametrize(("url_map", "media_type", "body"), BODIES)
def test_addresses_get_the_key_and_lose_it_again(url_map: UrlMap, media_type: str, body: str) -> None:
    sent, shown = body.replace("KEY", ""), keyed(body)

    assert {shown} == down(url_map, sent, media_type)
    assert {sent} == up(url_map, shown, media_type)


def test_tool_that_shows_its_key_in_a_field_gets_no_other_paths() -> None:
    body = b'{"reference":"/fhir/r4/Patient/1"}'

    assert body.decode() == fed(response_rewriter(JSON, BELOW, b"http://localhost:8080"), body)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"subject=/k/{KEY}/fhir/r4/Patient/1&x=/k/{KEY}", "subject=/fhir/r4/Patient/1&x="),
        (f"subject=%2Fk%2f{KEY}%2Ffhir&y=%252Fk%252F{KEY}%252Ffhir", "subject=%2Ffhir&y=%252Ffhir"),
        (f"subject=http://localhost:8080/k/{KEY}/Patient/1", f"subject={ORIGIN}/fhir/r4/Patient/1"),
        (f"http://elsewhere.example/k/{KEY}/x", "http://elsewhere.example/x"),
        (f"/k/{KEY}2/x /k/{KEY[:-1]}/x", f"/k/{KEY}2/x /k/{KEY[:-1]}/x"),
    ],
)
def test_key_never_goes_up(text: str, expected: str) -> None:
    assert {expected} == up(BELOW, text, FORM)
    assert expected.encode() == BELOW.text_up(text.encode())


@pytest.mark.parametrize(
    ("url_map", "value", "expected"),
    [
        (BELOW, "/fhir/r4/_operations/1", f"/k/{KEY}/fhir/r4/_operations/1"),
        (BELOW, "/fhir/r4?_getpages=1", f"/k/{KEY}/fhir/r4?_getpages=1"),
        (BELOW, f"{ORIGIN}/fhir/r4/Patient/1", f"http://localhost:8080/k/{KEY}/Patient/1"),
        (BELOW, "/fhir/r4b/Patient", "/fhir/r4b/Patient"),
        (BELOW, "Patient/1", "Patient/1"),
        (AT_ROOT, "/Patient/1", f"/k/{KEY}/Patient/1"),
        (AT_ROOT, "//other.example/x", "//other.example/x"),
    ],
)
def test_fields_get_the_key(url_map: UrlMap, value: str, expected: str) -> None:
    base = local(url_map)

    assert expected.encode() == url_map.location_down(value.encode(), base)
    assert b"<%s>; rel=next, <x>" % expected.encode() == url_map.link_down(
        b"<%s>; rel=next, <x>" % value.encode(), base
    )


@given(st.text(st.sampled_from('/k"\\u002fhi r4%2F&#x;' + KEY[-2:]), max_size=30), st.integers(1, 9))
def test_no_cut_makes_a_difference(text: str, size: int) -> None:
    body = f'{{"reference":"/fhir/r4{text}","reference":"/k/{KEY}{text}/k/{KEY}'.encode()
    pieces = [body[at : at + size] for at in range(0, len(body), size)]

    for make in (
        lambda: response_rewriter(XML, BELOW, local(BELOW)),
        lambda: request_rewriter(FORM, BELOW),
    ):
        assert fed(make(), body) == fed(make(), *pieces)
