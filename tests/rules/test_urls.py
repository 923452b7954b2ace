from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest

from proxy.model import BaseUrl
from proxy.rules.urls import UrlMap

AUTHORITIES = ("localhost:8080", "127.0.0.1:8080", "[::1]:8080")
WITH_PATH = UrlMap(BaseUrl.parse("https://fhir.example.org/fhir/r4"), authorities=AUTHORITIES)
AT_ROOT = UrlMap(BaseUrl.parse("https://a-b.fhir.azurehealthcareapis.com"), authorities=AUTHORITIES)
ON_PORT_80 = UrlMap(BaseUrl.parse("http://hapi:8080/fhir"), authorities=("localhost", "127.0.0.1:80"))
ALIASED = UrlMap(
    BaseUrl.parse("https://fhir.example.org/fhir/r4"),
    aliases=(BaseUrl.parse("http://fhir-server:8080/fhir"), BaseUrl.parse("https://fhir.example.org/fhir")),
    authorities=AUTHORITIES,
)
LOCAL = b"http://localhost:8080/fhir/r4"
ALIAS_MARK = b"aHR0cDovL2ZoaXItc2VydmVyOjgwODAvZmhpcg"
"""http://fhir-server:8080/fhir"""


def marked(url: bytes) -> bytes:
    return LOCAL + b"/u/" + urlsafe_b64encode(url).rstrip(b"=")


@pytest.mark.parametrize(
    ("url_map", "target", "expected"),
    [
        # the upstream's own path
        (WITH_PATH, b"/fhir/r4/Patient/1", (b"/fhir/r4", b"/fhir/r4/Patient/1")),
        (WITH_PATH, b"/fhir/r4", (b"/fhir/r4", b"/fhir/r4")),
        (WITH_PATH, b"/fhir/r4/", (b"/fhir/r4", b"/fhir/r4/")),
        (WITH_PATH, b"/fhir/r4?_getpages=a", (b"/fhir/r4", b"/fhir/r4?_getpages=a")),
        # the root
        (WITH_PATH, b"/Patient?name=%C3%A9%2b+x", (b"", b"/fhir/r4/Patient?name=%C3%A9%2b+x")),
        (WITH_PATH, b"/", (b"", b"/fhir/r4")),
        (WITH_PATH, b"/?", (b"", b"/fhir/r4?")),
        (WITH_PATH, b"/?_getpages=a", (b"", b"/fhir/r4?_getpages=a")),
        (WITH_PATH, b"/fhir/r42/Patient", (b"", b"/fhir/r4/fhir/r42/Patient")),
        (WITH_PATH, b"/fhir", (b"", b"/fhir/r4/fhir")),
        # a base without a path: both are one
        (AT_ROOT, b"/", (b"", b"/")),
        (AT_ROOT, b"/?ct=W3s%3D", (b"", b"/?ct=W3s%3D")),
        (AT_ROOT, b"/Patient/1", (b"", b"/Patient/1")),
        # own addresses in the query
        (
            WITH_PATH,
            b"/Patient?subject=http://localhost:8080/Patient/1&ct=a%2Bb",
            (b"", b"/fhir/r4/Patient?subject=https://fhir.example.org/fhir/r4/Patient/1&ct=a%2Bb"),
        ),
        # a mark behind either
        (ALIASED, b"/u/" + ALIAS_MARK + b"/Patient/1", (b"", b"/fhir/r4/Patient/1")),
        (ALIASED, b"/fhir/r4/u/" + ALIAS_MARK + b"/Patient?a=b", (b"/fhir/r4", b"/fhir/r4/Patient?a=b")),
        (ALIASED, b"/u/" + ALIAS_MARK + b"?_getpages=a", (b"", b"/fhir/r4?_getpages=a")),
        (ALIASED, b"/u/" + ALIAS_MARK, (b"", b"/fhir/r4")),
        (AT_ROOT, b"/u/SFRUUFM6Ly9hLWIuZmhpci5henVyZWhlYWx0aGNhcmVhcGlzLmNvbQ?ct=a", (b"", b"/?ct=a")),
        # of another server, and no mark at all
        (WITH_PATH, b"/u/" + ALIAS_MARK + b"/Patient/1", (b"", b"/fhir/r4/u/" + ALIAS_MARK + b"/Patient/1")),
        (ALIASED, b"/u/" + ALIAS_MARK[:-1] + b"/x", (b"", b"/fhir/r4/u/" + ALIAS_MARK[:-1] + b"/x")),
        (
            ALIASED,
            b"/u/aHR0cDpcL1wvZmhpci1zZXJ2ZXI6ODA4MFwvZmhpcg",
            (b"", b"/fhir/r4/u/aHR0cDpcL1wvZmhpci1zZXJ2ZXI6ODA4MFwvZmhpcg"),
        ),
        (
            ALIASED,
            b"/u/aHR0cCUzQSUyRiUyRmZoaXItc2VydmVyJTNBODA4MCUyRmZoaXI",
            (b"", b"/fhir/r4/u/aHR0cCUzQSUyRiUyRmZoaXItc2VydmVyJTNBODA4MCUyRmZoaXI"),
        ),
        (ALIASED, b"/u/%41/x", (b"", b"/fhir/r4/u/%41/x")),
        (ALIASED, b"/u", (b"", b"/fhir/r4/u")),
        # no path at all
        (WITH_PATH, b"*", (b"", b"*")),
        (WITH_PATH, b"http://other.example/Patient", (b"", b"http://other.example/Patient")),
    ],
)
def test_mount(url_map: UrlMap, target: bytes, expected: tuple[bytes, bytes]) -> None:
    assert expected == url_map.mount(target)


WITH_KEY = UrlMap(
    BaseUrl.parse("https://fhir.example.org/fhir/r4"), authorities=AUTHORITIES, key_path="/k/Secret-key_1"
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"http://localhost:8080/k/Secret-key_1/Patient/1", b"https://fhir.example.org/fhir/r4/Patient/1"),
        (
            b"http://localhost:8080/k/Secret-key_1/fhir/r4/Patient/1",
            b"https://fhir.example.org/fhir/r4/Patient/1",
        ),
        (b"http://[::1]:8080/k/Secret-key_1", b"https://fhir.example.org/fhir/r4"),
        (b"http://localhost:8080/fhir/r4/Patient/1", b"https://fhir.example.org/fhir/r4/Patient/1"),
        (b"http://localhost:8080/Patient/1", b"https://fhir.example.org/fhir/r4/Patient/1"),
        (
            b"http:\\/\\/localhost:8080\\/k\\/Secret-key_1\\/Patient\\/1",
            b"https:\\/\\/fhir.example.org\\/fhir\\/r4\\/Patient\\/1",
        ),
        (
            b"u=http%3A%2F%2Flocalhost%3A8080%2Fk%2FSecret-key_1%2FPatient%2F1",
            b"u=https%3A%2F%2Ffhir.example.org%2Ffhir%2Fr4%2FPatient%2F1",
        ),
    ],
)
def test_key_never_goes_up(value: bytes, expected: bytes) -> None:
    assert expected == WITH_KEY.text_up(value)


@pytest.mark.parametrize(
    ("authority", "mount", "expected"),
    [
        (b"localhost:8080", b"", b"http://localhost:8080"),
        (b"[::1]:8080", b"/fhir/r4", b"http://[::1]:8080/fhir/r4"),
    ],
)
def test_local_base(authority: bytes, mount: bytes, expected: bytes) -> None:
    assert expected == WITH_PATH.local_base(authority, mount)


@pytest.mark.parametrize(
    ("url_map", "value", "expected"),
    [
        (WITH_PATH, b"https://fhir.example.org/fhir/r4/Patient/1/_history/2", LOCAL + b"/Patient/1/_history/2"),
        (WITH_PATH, b"https://fhir.example.org/fhir/r4", LOCAL),
        (WITH_PATH, b"https://fhir.example.org/fhir/r4/", LOCAL + b"/"),
        (WITH_PATH, b"HTTPS://FHIR.Example.ORG/fhir/r4/Patient", marked(b"HTTPS://FHIR.Example.ORG/fhir/r4") + b"/Patient"),
        (WITH_PATH, b"https://fhir.example.org:443/fhir/r4/Patient", marked(b"https://fhir.example.org:443/fhir/r4") + b"/Patient"),
        (WITH_PATH, b"https://fhir.example.org:443:443/fhir/r4/Patient", marked(b"https://fhir.example.org:443:443/fhir/r4") + b"/Patient"),
        (AT_ROOT, b"https://a-b.fhir.azurehealthcareapis.com/_operations/export/7", LOCAL + b"/_operations/export/7"),
        (ON_PORT_80, b"http://hapi:8080/fhir?_getpages=1", LOCAL + b"?_getpages=1"),
        (
            WITH_PATH,
            b"https://fhir.example.org/fhir/r4?u=https%3A%2F%2Ffhir.example.org%2Ffhir%2Fr4%2FPatient",
            LOCAL + b"?u=http%3A%2F%2Flocalhost%3A8080%2Ffhir%2Fr4%2FPatient",
        ),
        (
            WITH_PATH,
            b"https://fhir.example.org/fhir/r4?u=https://fhir.example.org/fhir/r4%2FPatient%2F1",
            LOCAL + b"?u=" + LOCAL + b"%2FPatient%2F1",
        ),
        # aliases, the longest first
        (ALIASED, b"http://fhir-server:8080/fhir/Patient/1", marked(b"http://fhir-server:8080/fhir") + b"/Patient/1"),
        (ALIASED, b"https://fhir.example.org/fhir/r4/Patient/1", LOCAL + b"/Patient/1"),
        (ALIASED, b"https://fhir.example.org/fhir/Patient/1", marked(b"https://fhir.example.org/fhir") + b"/Patient/1"),
        # not the upstream's
        *(
            (WITH_PATH, value, value)
            for value in (
                b"",
                b"Patient/1",
                b"/fhir/r4/Patient/1",
                b"https://login.microsoftonline.com/x?redirect_uri=https://fhir.example.org/fhir/r4",
                b"http://fhir.example.org/fhir/r4/Patient",
                b"https://fhir.example.org/fhir/r4b/Patient",
                b"https://fhir.example.org/fhir/R4/Patient",
                b"https://fhir.example.org/fhir/r4%2FPatient",
                b"https://fhir.example.org/fhir/r4%20x",
                b"https://fhir.example.org/fhir",
                b"https://fhir.example.org.evil.example/fhir/r4",
                b"https://fhir.example.org:8443/fhir/r4",
                b"https://fhir.example.org@evil.example/fhir/r4",
                b"https://evil.example@fhir.example.org/fhir/r4",
                b"https://evilfhir.example.org/fhir/r4",
                b"xhttps://fhir.example.org/fhir/r4",
            )
        ),
        (AT_ROOT, b"https://a-b.fhir.azurehealthcareapis.com.evil.example/", b"https://a-b.fhir.azurehealthcareapis.com.evil.example/"),
        (AT_ROOT, b"https://a-b.fhir.azurehealthcareapis.com:8443/", b"https://a-b.fhir.azurehealthcareapis.com:8443/"),
        (ON_PORT_80, b"http://hapi/fhir/Patient", b"http://hapi/fhir/Patient"),
    ],
)  # fmt: skip
def test_location_down(url_map: UrlMap, value: bytes, expected: bytes) -> None:
    assert expected == url_map.location_down(value, LOCAL)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            b'<https://fhir.example.org/fhir/r4?p=2>; rel="next",<https://other.example/>;rel=x',
            b'<http://localhost:8080/fhir/r4?p=2>; rel="next",<https://other.example/>;rel=x',
        ),
        (
            b'</x>; title="a \\" <https://fhir.example.org/fhir/r4>", <https://fhir.example.org/fhir/r4>; rel=self',
            b'</x>; title="a \\" <https://fhir.example.org/fhir/r4>", <http://localhost:8080/fhir/r4>; rel=self',
        ),
        (
            b"<https://fhir.example.org/fhir/r4>; anchor=<x",
            b"<http://localhost:8080/fhir/r4>; anchor=<x",
        ),
        (b"https://fhir.example.org/fhir/r4", b"https://fhir.example.org/fhir/r4"),
    ],
)
def test_link_down(value: bytes, expected: bytes) -> None:
    assert expected == WITH_PATH.link_down(value, LOCAL)


UPSTREAM = b"https://fhir.example.org/fhir/r4"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # every name of the listener, both mounts
        (b"http://localhost:8080/Patient/1", UPSTREAM + b"/Patient/1"),
        (b"http://127.0.0.1:8080/Patient/1", UPSTREAM + b"/Patient/1"),
        (b"http://[::1]:8080/Patient/1", UPSTREAM + b"/Patient/1"),
        (b"http://localhost:8080/fhir/r4/Patient/1", UPSTREAM + b"/Patient/1"),
        (b"http://localhost:8080/fhir/r4", UPSTREAM),
        (b"http://localhost:8080/fhir/r4/", UPSTREAM + b"/"),
        (b"http://localhost:8080", UPSTREAM),
        (b"http://localhost:8080?name=a", UPSTREAM + b"?name=a"),
        (b"http://localhost:8080/fhir/r42/x", UPSTREAM + b"/fhir/r42/x"),
        (b"HTTP://LocalHost:8080/Patient", UPSTREAM + b"/Patient"),
        # percent-encoded, once and twice, wholly and in part
        (b"http%3A%2F%2Flocalhost%3A8080%2Fx", b"https%3A%2F%2Ffhir.example.org%2Ffhir%2Fr4%2Fx"),
        (b"http%3a%2f%2flocalhost%3a8080%2fx", b"https%3a%2f%2ffhir.example.org%2ffhir%2fr4%2fx"),
        (b"http%3A//localhost%3A8080/x", b"https%3A//fhir.example.org/fhir/r4/x"),
        (b"http:%2F%2Flocalhost:8080%2Fx", b"https:%2F%2Ffhir.example.org%2Ffhir%2Fr4%2Fx"),
        (b"http%3A%2F%2F%5B%3A%3A1%5D%3A8080%2Fx", b"https%3A%2F%2Ffhir.example.org%2Ffhir%2Fr4%2Fx"),
        (
            b"_typeFilter=Patient%3Forganization%3Dhttp%253A%252F%252Flocalhost%253A8080%252FOrganization%252F1",
            b"_typeFilter=Patient%3Forganization%3Dhttps%253A%252F%252Ffhir.example.org%252Ffhir%252Fr4%252FOrganization%252F1",
        ),
        (b"a=http%253A%252F%252Flocalhost%253A8080%26b", b"a=https%253A%252F%252Ffhir.example.org%252Ffhir%252Fr4%26b"),
        # not encoded itself, but what follows, once and twice
        (b"subject=http://localhost:8080%2FPatient%2F1", b"subject=" + UPSTREAM + b"%2FPatient%2F1"),
        (b"subject=http://localhost:8080/fhir/r4%2fPatient", b"subject=" + UPSTREAM + b"%2fPatient"),
        (b"subject=http://localhost:8080%252FPatient", b"subject=" + UPSTREAM + b"%252FPatient"),
        (b"subject=http://localhost:8080%7C1", b"subject=" + UPSTREAM + b"%7C1"),
        (b"s=http%3A%2F%2Flocalhost%3A8080%252FPatient", b"s=https%3A%2F%2Ffhir.example.org%2Ffhir%2Fr4%252FPatient"),
        # escapes of JSON and XML
        (rb'{"r":"http:\/\/localhost:8080\/P"}', rb'{"r":"https:\/\/fhir.example.org\/fhir\/r4\/P"}'),
        (rb"http:\u002F\u002flocalhost\u003a8080\u002FP", rb"https:\u002F\u002ffhir.example.org\u002ffhir\u002fr4\u002FP"),
        (rb"http:\u002f/localhost:8080/P", rb"https:\u002f/fhir.example.org/fhir/r4/P"),
        (b"http:&#x2F;&#x2f;localhost&#58;8080&#47;P", b"https:&#x2F;&#x2f;fhir.example.org&#x2f;fhir&#x2f;r4&#47;P"),
        # what may stand before and after
        (b"code=sys|http://localhost:8080,http://localhost:8080|x", b"code=sys|" + UPSTREAM + b"," + UPSTREAM + b"|x"),
        (b"(http://localhost:8080)", b"(" + UPSTREAM + b")"),
        (b"<a href='http://localhost:8080'>", b"<a href='" + UPSTREAM + b"'>"),
        (rb"line\nhttp://localhost:8080\nline", rb"line\n" + UPSTREAM + rb"\nline"),
        (rb"\u003chttp://localhost:8080\u003e", rb"\u003c" + UPSTREAM + rb"\u003e"),
        (b"a%20http%3A%2F%2Flocalhost%3A8080%20b", b"a%20https%3A%2F%2Ffhir.example.org%2Ffhir%2Fr4%20b"),
        (b"See http://localhost:8080. Then", b"See " + UPSTREAM + b". Then"),
        (b"http://localhost:8080.", UPSTREAM + b"."),
        (b"http://localhost:8080#x", UPSTREAM + b"#x"),
        (b"=http://localhost:8080&b=", b"=" + UPSTREAM + b"&b="),
        # not the proxy's
        *(
            (text, text)
            for text in (
                b"",
                b"http://localhost",
                b"http://localhost/Patient",
                b"http://localhost:80801/Patient",
                b"http://localhost:808",
                b"http://localhost:10000/devstoreaccount1/x",
                b"http://127.0.0.2:8080/x",
                b"https://localhost:8080/x",
                b"http://localhost:8080@evil.example/",
                b"http://user@localhost:8080/",
                b"http://localhost:8080.evil.example/",
                b"http://localhost:8080-test/",
                b"http://localhost:8080_old",
                b"http://localhost:8080%2Dtest",
                b"http://localhost:8080%3A1",
                rb"http://localhost:8080\u002dtest",
                b"http://evil.localhost:8080/x",
                b"xhttp://localhost:8080/x",
                rb"x\\nhttp://localhost:8080/x",
                rb"\u0041http://localhost:8080/x",
                b"%41http%3A%2F%2Flocalhost%3A8080",
                b"http%3A%2F%2Flocalhost%3A8080%2Dtest",
                b"ftp://localhost:8080/x",
                b"localhost:8080",
                b"ct=8080808080",
            )
        ),
    ],
)  # fmt: skip
def test_text_up(text: bytes, expected: bytes) -> None:
    assert (expected, expected) == (WITH_PATH.text_up(text), WITH_PATH.query_up(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"http://localhost/Patient", b"http://hapi:8080/fhir/Patient"),
        (b"http://localhost:80/fhir/Patient", b"http://hapi:8080/fhir/Patient"),
        (b"http://127.0.0.1/Patient", b"http://hapi:8080/fhir/Patient"),
        (b"http%3A%2F%2Flocalhost%2FPatient", b"http%3A%2F%2Fhapi%3A8080%2Ffhir%2FPatient"),
        (b"http://localhost:8080/Patient", b"http://localhost:8080/Patient"),
    ],
)
def test_port_80_may_be_left_out(text: bytes, expected: bytes) -> None:
    assert expected == ON_PORT_80.text_up(text)


def test_ipv6_upstream_is_written_encoded_where_the_match_was() -> None:
    url_map = UrlMap(BaseUrl.parse("https://[2001:db8::7]/fhir%20x"), authorities=("localhost:8080",))

    encoded = url_map.query_up(b"s=http%3A%2F%2Flocalhost%3A8080%2FPatient")

    assert encoded == b"s=https%3A%2F%2F%5B2001%3Adb8%3A%3A7%5D%2Ffhir%2520x%2FPatient"
    assert url_map.theirs.undecided_from(encoded) == len(encoded)
    assert [match.start() for match in url_map.theirs.matches(encoded)] == [2]


@pytest.mark.parametrize(
    "value",
    [
        b"HTTPS://[2001:DB8::7]:443/fhir%20x/Patient/1",
        b"https://[2001:db8::7]/fhir%20x/Patient?u=https%3A%2F%2F%5B2001%3ADB8%3A%3A7%5D%3A443%2Ffhir%2520x%2FPatient",
        b"https:\\/\\/[2001:DB8::7]\\/fhir%20x\\/Patient",
    ],
)
@pytest.mark.parametrize("local_base", [b"http://localhost:8080", b"http://localhost:8080/fhir%20x"])
def test_odd_spelling_comes_back(value: bytes, local_base: bytes) -> None:
    url_map = UrlMap(BaseUrl.parse("https://[2001:db8::7]/fhir%20x"), authorities=("localhost:8080",))
    shown = url_map.location_down(value, local_base)

    assert b"8::7" not in shown.lower()
    assert url_map.text_up(shown) == value


def test_text_without_an_own_address_is_returned_itself() -> None:
    text = b"family=Chalmers&given=Peter"

    assert text is WITH_PATH.text_up(text)
