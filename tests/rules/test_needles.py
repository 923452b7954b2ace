from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import BaseUrl
from proxy.rules.needles import Needles, fastest_search, needles_of, plain_search

TEXTS = st.lists(st.text("ab.1", min_size=1, max_size=4).map(str.encode), min_size=1, max_size=4, unique=True)
DATA = st.text("ab.1 ", max_size=40).map(str.encode)


@given(TEXTS, DATA)
def test_library_finds_what_a_regular_expression_finds(texts: list[bytes], data: bytes) -> None:
    pytest.importorskip("ahocorasick_rs", reason="the extra speed")
    longest_first = Needles(texts).texts

    assert plain_search(longest_first)(data) == fastest_search(longest_first)(data)


@given(TEXTS, DATA)
def test_each_place_of_a_text_is_found_or_begins_within_one(texts: list[bytes], data: bytes) -> None:
    places = Needles(texts).positions(data)
    longest = {place: max(len(text) for text in texts if data.startswith(text, place)) for place in places}

    assert places == sorted(places)
    for begin in range(len(data)):
        if any(data.startswith(text, begin) for text in texts):
            assert any(place <= begin < place + length for place, length in longest.items())


def test_search_needs_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ahocorasick_rs", None)

    assert [1, 4] == Needles([b"b", b"bc"]).positions(b"abc.b")


BASES = {
    "one port": (["http://a:8080", "http://b.example:8080"], {b"8080"}),
    "another port": (["http://a:8080", "http://b.example:8081"], {b"a", b"b.example"}),
    "a default port": (["https://b.example/fhir"], {b"b.example"}),
    "an IPv6 address": (["http://[2001:db8::1]"], {b"2001"}),
}


@pytest.mark.parametrize(("bases", "expected"), BASES.values(), ids=list(BASES))
def test_needles_are_one_port_or_the_hosts(bases: list[str], expected: set[bytes]) -> None:
    assert expected == set(needles_of([BaseUrl.parse(base) for base in bases]).texts)
