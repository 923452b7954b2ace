from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.doctor.local import _base, _below, _is_local, _links

LOCAL = "http://localhost:8080/fhir"

URLS = [
    # a link, whether it stays with the proxy, its base where it does not
    (f"{LOCAL}/Patient?page=2", True, ""),
    (f"{LOCAL}?_getpages=x", True, ""),
    (LOCAL, True, ""),
    ("Patient?page=2", True, ""),
    ("/fhir/Patient?page=2", True, ""),
    ("/elsewhere/Patient?page=2", False, ""),
    ("http://localhost:8080/fhir2/Patient", False, "http://localhost:8080/fhir2"),
    ("http://localhost:80801/fhir/Patient", False, ""),
    ("https://internal.example/fhir/Patient?page=2", False, "https://internal.example/fhir"),
    ("https://internal.example/Patient", False, "https://internal.example"),
    ("https://internal.example/fhir/?_getpages=x", False, "https://internal.example/fhir"),
    ("https://user:secret@internal.example/Patient", False, ""),
    ("https://internal.example/a/../Patient", False, ""),
    ("http://[", False, ""),
    ("javascript:alert(1)", False, ""),
]


@pytest.mark.parametrize(("url", "is_local", "base"), URLS)
def test_link_is_local_or_has_a_base_to_name(url: str, is_local: bool, base: str) -> None:
    assert (is_local, base) == (_is_local(url, LOCAL), "" if is_local else _base(url))


TARGETS = [
    (f"{LOCAL}/Patient?page=2#top", "Patient?page=2"),
    (f"{LOCAL}?_getpages=x", "?_getpages=x"),
    ("Patient?name=Zoë é&ct=a%2Bb", "Patient?name=Zo%C3%AB%20%C3%A9&ct=a%2Bb"),
]


@pytest.mark.parametrize(("url", "target"), TARGETS)
def test_next_page_is_asked_for_as_its_link_says(url: str, target: str) -> None:
    assert target == _below(url, LOCAL)


@given(st.text())
def test_every_link_can_be_judged(url: str) -> None:
    if _is_local(url, LOCAL):
        assert _below(url, LOCAL).isascii()
    else:
        assert _base(url) == "" or _base(url).startswith("http")


def test_links_are_those_that_tools_follow() -> None:
    bundle = {
        "link": [{"relation": "self", "url": "a"}, {"relation": "next", "url": "b"}, "odd"],
        "entry": [{"fullUrl": "c"}, {"fullUrl": "urn:uuid:d"}, {}, {"fullUrl": 1}, None],
    }

    assert [("self", "a"), ("next", "b"), ("entry", "c")] == list(_links(bundle))


@pytest.mark.parametrize("odd", [{}, {"link": {}, "entry": "x"}, {"link": None}])
def test_what_is_no_bundle_has_no_links(odd: dict[str, object]) -> None:
    assert [] == list(_links(odd))
