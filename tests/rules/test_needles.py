from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import BaseUrl
from proxy.rules.needles import Needles, fastest_search, needles_of, piece_of, plain_search

TEXTS = st.lists(st.text("ab.1", min_size=1, max_size=4).map(str.encode), min_size=1, max_size=4, unique=True)
DATA = st.text("ab.1 ", max_size=40).map(str.encode)


@given(TEXTS, DATA)
def test_library_finds_what_a_regular_expression_finds(texts: list[bytes], data: bytes) -> None:
    pytest.importorskip("ahocorasick_rs", reason="the extra speed")
    pieces = [(text, 0) for text in Needles(texts).texts]

    assert plain_search(pieces)(data) == fastest_search(pieces)(data)


HOSTS = [
    *(b"a.fhir.example", b"fhir.example", b"b.fhirs.example", b"x.snomed.info", b"a.blob.core"),
    *(b"a.windows.b.windowing", b"10.0.0.1", b"fhir"),
]
PARTS = [
    *(b"a", b"A", b".fhir", b".FHIR", b".example", b".Example", b".fhirs", b"b", b"x", b".info"),
    *(b".windows", b"fhir", b" ", b"10.0.0.1"),
]


@given(
    st.lists(st.sampled_from(HOSTS), min_size=1, max_size=4, unique=True),
    st.lists(st.sampled_from(PARTS), max_size=12).map(b"".join),
)
def test_each_place_of_a_host_is_found_in_any_case(hosts: list[bytes], data: bytes) -> None:
    needles = Needles(hosts)
    places = needles.positions(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "ahocorasick_rs", None)
        plainly = Needles(hosts).positions(data)

    assert plainly == places == sorted(places)
    for begin in range(len(data)):
        if any(data.lower().startswith(host, begin) for host in hosts):
            assert any(place <= begin < place + len(max(hosts, key=len)) for place in places)


PIECES = [
    (b"clinic.fhir.azurehealthcareapis.com", b".azur"),
    (b"hapi.fhir.org", b".fhir"),
    (b"fhir.a.b.c", b""),
    (b"example.org", b""),
    (b"snomed.info", b""),
    (b"a.r4-b.x", b""),
    (b"10.0.0.1", b""),
    (b"", b""),
]


@pytest.mark.parametrize(("host", "piece"), PIECES)
def test_piece_is_a_dot_with_rare_letters(host: bytes, piece: bytes) -> None:
    assert piece == piece_of(host)


def test_place_is_where_the_host_begins() -> None:
    needles = Needles([b"a.fhir.example", b"b.blob.core"])

    assert [1, 20] == needles.positions(b" a.FHIR.example ... b.Blob.core")
    assert [-1] == needles.positions(b".FhIr.example")
    assert 2 == needles.count(b"A.Fhir.example/b.blob.core")


def test_hosts_that_have_a_piece_in_common_are_looked_for_as_a_whole() -> None:
    assert [0, 15] == Needles([b"a.fhir.example", b"bc.fhir.example"]).positions(
        b"A.fhir.example bc.fhir.EXAMPLE"
    )


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
