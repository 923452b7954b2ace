from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import (
    BaseUrl,
    Classified,
    Credentials,
    Fields,
    Interaction,
    Rejection,
    is_loopback,
)

BASE_URLS = [
    # what FHIR servers are called
    ("https://example.azurehealthcareapis.com", BaseUrl("https", "example.azurehealthcareapis.com", 443)),
    ("https://hapi.fhir.org/baseR4", BaseUrl("https", "hapi.fhir.org", 443, "/baseR4")),
    ("https://hapi.fhir.org/baseR4/", BaseUrl("https", "hapi.fhir.org", 443, "/baseR4")),
    ("http://fhir-server_1:8080/fhir", BaseUrl("http", "fhir-server_1", 8080, "/fhir")),
    ("https://h/~a/b;v=1/%7C", BaseUrl("https", "h", 443, "/~a/b;v=1/%7C")),
    # spellings of one URL
    ("HTTPS://Example.ORG:443/Fhir", BaseUrl("https", "example.org", 443, "/Fhir")),
    ("https://example.org.", BaseUrl("https", "example.org", 443)),
    ("https://example.org:", BaseUrl("https", "example.org", 443)),
    ("https://example.org//", BaseUrl("https", "example.org", 443)),
    ("http://example.org:443", BaseUrl("http", "example.org", 443)),
    # addresses
    ("http://127.0.0.1:8080", BaseUrl("http", "127.0.0.1", 8080)),
    ("http://[::1]:8080/fhir", BaseUrl("http", "::1", 8080, "/fhir")),
    ("https://[FE80:0:0::1]", BaseUrl("https", "fe80::1", 443)),
    # names beyond ASCII
    ("https://bücher.example", BaseUrl("https", "xn--bcher-kva.example", 443)),
]


@pytest.mark.parametrize(("text", "expected"), BASE_URLS)
def test_base_url_is_read(text: str, expected: BaseUrl) -> None:
    assert expected == BaseUrl.parse(text)


WRONG_BASE_URLS = [
    ("", "does not start with https:// or http://"),
    ("example.org", "does not start with https:// or http://"),
    ("ftp://example.org", "does not start with https:// or http://"),
    ("https:example.org", "names no host"),
    ("https:///fhir", "names no host"),
    ("https://:443", "names no host"),
    ("https://user@example.org", "holds a user name or password"),
    ("https://user:word@example.org", "holds a user name or password"),
    ("https://example.org?x=1", "holds a query or a fragment"),
    ("https://example.org/#", "holds a query or a fragment"),
    ("https://example.org/?", "holds a query or a fragment"),
    ("https://example.org:0", "has port 0"),
    ("https://example.org:65536", "has a port that is not a number from 1 to 65535"),
    ("https://example.org:http", "has a port that is not a number from 1 to 65535"),
    ("https://example.org:+80", "has a port that is not a number from 1 to 65535"),
    (" https://example.org", "holds a space, a control character or a backslash"),
    ("https://example.org\n", "holds a space, a control character or a backslash"),
    ("https://example.org\\@evil.example", "holds a space, a control character or a backslash"),
    ("https://example.org/a//b", "has a path with an empty or a dot segment"),
    ("https://example.org/a/../b", "has a path with an empty or a dot segment"),
    ("https://example.org/%2E%2e/b", "has a path with an empty or a dot segment"),
    ("https://example.org/..;x/b", "has a path with an empty or a dot segment"),
    ("https://example.org/é", "has a path that is not percent-encoded"),
    ('https://example.org/"', "has a path that is not percent-encoded"),
    ("https://example.org/%zz", "has a path that is not percent-encoded"),
    ("https://./fhir", "has a host that is neither a name nor an address"),
    ("https://-a", "has a host that is neither a name nor an address"),
    ("https://a,b", "has a host that is neither a name nor an address"),
    ("https://ex%61mple", "has a host that is neither a name nor an address"),
    ("https://[::1]evil.example", "has a host that is neither a name nor an address"),
    ("https://[v1.a]", "has a host that is neither a name nor an address"),
    ("https://[::1", "has a host that is neither a name nor an address"),
    ("https://[fe80::1%25eth0]", "has a host that is neither a name nor an address"),
    (f"https://{'é' * 80}", "has a host that is neither a name nor an address"),
]


@pytest.mark.parametrize(("text", "phrase"), WRONG_BASE_URLS)
def test_wrong_base_url_says_why(text: str, phrase: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(phrase)}$"):
        BaseUrl.parse(text)


host_names = st.from_regex(r"[a-z0-9_]([a-z0-9-]{0,10}[a-z0-9_])?(\.[a-z]{2,5}){0,2}", fullmatch=True)
addresses = st.ip_addresses().map(str)
paths = st.lists(st.from_regex(r"[A-Za-z0-9_~$:@|-]{1,8}", fullmatch=True), max_size=3).map(
    lambda segments: "".join(f"/{segment.replace('|', '%7C')}" for segment in segments)
)
base_urls = st.builds(
    BaseUrl,
    st.sampled_from(["http", "https"]),
    host_names | addresses,
    st.sampled_from([80, 443]) | st.integers(1, 65535),
    paths,
)


@given(base_urls)
def test_base_url_survives_its_own_text(url: BaseUrl) -> None:
    assert url == BaseUrl.parse(str(url))


@given(st.text() | st.text(alphabet="htps:/[]%.;@#?-_a1é").map("https://".__add__))
def test_any_text_is_a_base_url_or_a_reason(text: str) -> None:
    try:
        url = BaseUrl.parse(text)
    except ValueError as error:
        reason = str(error)
    else:
        reason = ""
        assert url == BaseUrl.parse(str(url))

    assert reason.partition(" ")[0] in {"", "does", "has", "holds", "names"}


@pytest.mark.parametrize(
    ("text", "authority", "origin"),
    [
        ("https://example.org/fhir", "example.org", "https://example.org"),
        ("https://example.org:80/fhir", "example.org:80", "https://example.org:80"),
        ("http://example.org:80", "example.org", "http://example.org"),
        ("https://[::1]:8443", "[::1]:8443", "https://[::1]:8443"),
    ],
)
def test_default_port_is_left_out(text: str, authority: str, origin: str) -> None:
    url = BaseUrl.parse(text)

    assert (authority, origin) == (url.authority, url.origin)


LOOPBACK = [
    ("localhost", True),
    ("fhir.localhost", True),
    ("127.0.0.1", True),
    ("127.255.0.9", True),
    ("::1", True),
    ("0.0.0.0", False),
    ("::", False),
    ("127.1", False),
    ("localhost.evil.example", False),
    ("notlocalhost", False),
    ("10.0.0.1", False),
    ("", False),
]


@pytest.mark.parametrize(("host", "expected"), LOOPBACK)
def test_loopback_is_this_machine_alone(host: str, expected: bool) -> None:
    assert expected is is_loopback(host)


FIELDS = Fields(((b"Link", b"<a>"), (b"ETag", b'W/"1"'), (b"LINK", b"<b>"), (b"X-Raw", b"\xff")))


def test_fields_keep_order_and_spelling() -> None:
    assert [name for name, _ in FIELDS] == [b"Link", b"ETag", b"LINK", b"X-Raw"]


@pytest.mark.parametrize(
    ("name", "first", "every", "text"),
    [
        (b"link", b"<a>", (b"<a>", b"<b>"), "<a>, <b>"),
        (b"etag", b'W/"1"', (b'W/"1"',), 'W/"1"'),
        (b"x-raw", b"\xff", (b"\xff",), "\xff"),
        (b"location", None, (), ""),
    ],
)
def test_fields_are_found_by_lower_case_name(
    name: bytes, first: bytes | None, every: tuple[bytes, ...], text: str
) -> None:
    assert (first, every, text, bool(every)) == (
        FIELDS.get(name),
        FIELDS.get_all(name),
        FIELDS.text(name),
        name in FIELDS,
    )


def test_fields_without_names_lose_each_of_their_lines() -> None:
    assert Fields(((b"ETag", b'W/"1"'),)) == FIELDS.without({b"link", b"x-raw"})


def test_added_lines_come_last_and_the_first_fields_stay() -> None:
    more = FIELDS.adding((b"A", b"1"), (b"B", b"2"))

    assert (*FIELDS.lines, (b"A", b"1"), (b"B", b"2")) == more.lines
    assert len(FIELDS.lines) == 4


def test_fields_of_text_are_latin_1() -> None:
    assert Fields(((b"X-Name", b"\xe9"),)) == Fields.of([("X-Name", "é")])


names = st.from_regex(rb"[A-Za-z-]{1,6}", fullmatch=True)
lines = st.lists(st.tuples(names, st.binary(max_size=5))).map(tuple)


@given(lines, st.sets(names.map(bytes.lower)))
def test_without_splits_fields_in_two(pairs: tuple[tuple[bytes, bytes], ...], dropped: set[bytes]) -> None:
    fields = Fields(pairs)
    kept = fields.without(dropped)

    assert all(name not in kept for name in dropped)
    assert [line for line in pairs if line[0].lower() not in dropped] == list(kept)


def test_credentials_never_print() -> None:
    credentials = Credentials(b"Bearer not-for-eyes")

    assert "not-for-eyes" not in f"{credentials!r} {credentials} {Rejection(credentials)!r}"


def test_classified_reads_as_a_log_shows_it() -> None:
    assert str(Classified(Interaction.SEARCH_TYPE, "Observation")) == "search-type Observation"
    assert str(Classified(Interaction.OPERATION, "Patient", "$everything")) == "operation Patient $everything"
