from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.kinds import Kind
from proxy.config.values import (
    ADMIN_LISTEN,
    ALLOWED_HOST,
    ALLOWED_INTERACTION,
    ALLOWED_ORIGIN,
    AUTHORITY_HOST,
    TENANT,
    TOKEN_CACHE,
    URL,
    ListenAddress,
)
from proxy.config.values import LISTEN as LISTEN_SETTING
from proxy.model import BaseUrl

LISTEN = [
    ("localhost:8080", ListenAddress("localhost", 8080)),
    ("LocalHost:8080", ListenAddress("localhost", 8080)),
    ("127.0.0.1:0", ListenAddress("127.0.0.1", 0)),
    ("8081", ListenAddress("localhost", 8081)),
    ("[::1]:8080", ListenAddress("::1", 8080)),
    ("unix:/run/x/y.sock", ListenAddress("localhost", 80, "/run/x/y.sock")),
    ("[0:0::0:1]:8080", ListenAddress("::1", 8080)),
    ("0.0.0.0:65535", ListenAddress("0.0.0.0", 65535)),
]


@pytest.mark.parametrize(("text", "expected"), LISTEN)
def test_listen_address_is_read(text: str, expected: ListenAddress) -> None:
    assert expected == ListenAddress.parse(text)


WRONG_LISTEN = [
    ("", "has a port that is not a number from 0 to 65535"),
    ("localhost", "has a port that is not a number from 0 to 65535"),
    ("localhost:", "has a port that is not a number from 0 to 65535"),
    ("localhost:65536", "has a port that is not a number from 0 to 65535"),
    ("localhost:-1", "has a port that is not a number from 0 to 65535"),
    ("localhost:٣", "has a port that is not a number from 0 to 65535"),
    (f"localhost:{'1' * 5000}", "has a port that is not a number from 0 to 65535"),
    (":8080", "names no host; write localhost:8080"),
    ("::1:8080", "is an IPv6 address without brackets; write [::1]:8080"),
    ("[localhost]:8080", "has brackets around what is not an IPv6 address"),
    ("my host:8080", "has a host that is neither a name nor an address"),
    (
        "http://localhost:8080",
        "is a URL or a path; write host and port alone, such as localhost:8080",
    ),
]


@pytest.mark.parametrize(("text", "phrase"), WRONG_LISTEN)
def test_wrong_listen_address_says_why(text: str, phrase: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(phrase)}$"):
        ListenAddress.parse(text)


hosts = st.from_regex(r"[a-z0-9_]([a-z0-9.-]{0,10}[a-z0-9_])?", fullmatch=True) | st.ip_addresses().map(str)


@given(st.builds(ListenAddress, hosts, st.integers(0, 65535)))
def test_listen_address_survives_its_own_text(address: ListenAddress) -> None:
    assert address == ListenAddress.parse(str(address))


@given(st.text(alphabet="a1:[]./ é") | st.text())
def test_any_text_is_a_listen_address_or_a_reason(text: str) -> None:
    try:
        address = ListenAddress.parse(text)
    except ValueError as error:
        reason = str(error)
    else:
        reason = ""
        assert address == ListenAddress.parse(str(address))

    assert reason.partition(" ")[0] in {"", "has", "is", "names"}


OVERLAPS = [
    ("localhost:1", "localhost:1", True),
    ("localhost:1", "localhost:2", False),
    ("localhost:0", "localhost:0", False),
    ("localhost:1", "127.0.0.1:1", True),
    ("[::1]:1", "localhost:1", True),
    ("[::1]:1", "127.0.0.1:1", False),
    ("0.0.0.0:1", "127.0.0.1:1", True),
    ("10.0.0.1:1", "127.0.0.1:1", False),
    ("localhost:1", "10.0.0.1:1", False),
]


@pytest.mark.parametrize(("one", "other", "expected"), OVERLAPS)
def test_addresses_overlap_where_both_cannot_accept(one: str, other: str, expected: bool) -> None:
    first, second = ListenAddress.parse(one), ListenAddress.parse(other)

    assert (expected, expected) == (first.overlaps(second), second.overlaps(first))


SETTINGS = [
    # what Azure's tools accept
    (AUTHORITY_HOST, "login.microsoftonline.us", "login.microsoftonline.us"),
    (AUTHORITY_HOST, "https://login.microsoftonline.us", "login.microsoftonline.us"),
    (AUTHORITY_HOST, "https://Login.MicrosoftOnline.us/", "login.microsoftonline.us"),
    (AUTHORITY_HOST, "", ""),
    # names of a listener
    (ALLOWED_HOST, "Fhir-Proxy", "fhir-proxy"),
    (ALLOWED_HOST, "localhost:9000", "localhost:9000"),
    (ALLOWED_HOST, "[::1]:80", "[::1]:80"),
    # origins as browsers send them
    (ALLOWED_ORIGIN, "http://localhost:3000", "http://localhost:3000"),
    (ALLOWED_ORIGIN, "https://app.example.org", "https://app.example.org"),
    (ALLOWED_ORIGIN, "http://[::1]:3000", "http://[::1]:3000"),
    # tenants
    (TENANT, "11111111-1111-1111-1111-111111111111", "11111111-1111-1111-1111-111111111111"),
    (TENANT, "example.onmicrosoft.com", "example.onmicrosoft.com"),
    (TENANT, "", ""),
    # where sign-ins are kept
    (TOKEN_CACHE, "file", "file"),
    (TOKEN_CACHE, "redis://cache", "redis://cache"),
    (
        TOKEN_CACHE,
        "rediss://ada:p%40ss:word@cache.example:6380/2",
        "rediss://ada:p%40ss:word@cache.example:6380/2",
    ),
    (TOKEN_CACHE, "rediss://:word@[::1]/", "rediss://:word@[::1]/"),
    # a value that has been read already stays as it is
    (URL, BaseUrl("https", "h", 443), BaseUrl("https", "h", 443)),
    (LISTEN_SETTING, ListenAddress("h", 1), ListenAddress("h", 1)),
    (LISTEN_SETTING, 8080, ListenAddress("localhost", 8080)),
    (ADMIN_LISTEN, "off", None),
    (ADMIN_LISTEN, None, None),
    (ADMIN_LISTEN, "0.0.0.0:8079", ListenAddress("0.0.0.0", 8079)),
]


@pytest.mark.parametrize(("kind", "value", "expected"), SETTINGS)
def test_setting_is_read(kind: Kind[object], value: object, expected: object) -> None:
    assert expected == kind.read(value)


WRONG_SETTINGS = [
    (AUTHORITY_HOST, "http://login.microsoftonline.us", "is not a host such as"),
    (AUTHORITY_HOST, "https://login.microsoftonline.us/tenant", "is not a host such as"),
    (AUTHORITY_HOST, "https://user@login.microsoftonline.us", "is not a host such as"),
    (ALLOWED_HOST, "*", "is a pattern"),
    (ALLOWED_HOST, "*.example.org", "is a pattern"),
    (ALLOWED_HOST, "http://example.org", "is not a host name"),
    (ALLOWED_HOST, "", "is not a host name"),
    (ALLOWED_ORIGIN, "*", "would let in pages that nobody knows"),
    (ALLOWED_ORIGIN, "null", "would let in pages that nobody knows"),
    *(
        (ALLOWED_ORIGIN, text, "is not an origin as browsers send it")
        for text in (
            *("", "app.example.org", "https://*.example.org", "https://app.example.org/", "file://"),
            *("HTTPS://app.example.org", "https://App.example.org", "https://a.example, https://b.example"),
            *("https://user@app.example.org", "ftp://app.example.org", "https://", "https://a.example:"),
            *("https://a.example:0", "https://a.example:0443", "https://a.example\n"),
        )
    ),
    *(
        (ALLOWED_ORIGIN, text, "has a port that no browser sends")
        for text in ("https://a.example:443", "http://a.example:80", "http://a.example:65536")
    ),
    (TENANT, "../common", "is neither a GUID nor a domain name"),
    (TENANT, "a/b", "is neither a GUID nor a domain name"),
    (TENANT, "..", "is neither a GUID nor a domain name"),
    (URL, 1, "is not text"),
    (URL, {"scheme": "https", "host": "h", "port": 1}, "is not text"),
    (LISTEN_SETTING, True, "is neither text nor a port"),
    (LISTEN_SETTING, {"host": "h", "port": 1}, "is neither text nor a port"),
    (LISTEN_SETTING, 65536, "has a port that is not a number"),
    (TOKEN_CACHE, "", "is neither one of auto, encrypted, file, none nor a URL rediss://"),
    (TOKEN_CACHE, "disk", "is neither one of"),
    (TOKEN_CACHE, "http://cache", "is neither one of"),
    (TOKEN_CACHE, "rediss://", "is neither one of"),
    (TOKEN_CACHE, "rediss://a/b@cache", "is neither one of"),
    (TOKEN_CACHE, "rediss://cache/first", "is neither one of"),
    (TOKEN_CACHE, "rediss://cache?ssl_cert_reqs=none", "is neither one of"),
    (TOKEN_CACHE, "rediss://cache:65536", "has a port that is not a number"),
]


@pytest.mark.parametrize(("kind", "value", "phrase"), WRONG_SETTINGS)
def test_wrong_setting_says_why(kind: Kind[object], value: object, phrase: str) -> None:
    with pytest.raises(ValueError, match=phrase):
        kind.read(value)


@pytest.mark.parametrize(
    ("text", "value"), [("read", "read"), ("$Everything", "$everything"), ("operation", "operation")]
)
def test_allowed_interaction_is_read(text: str, value: str) -> None:
    assert ALLOWED_INTERACTION.read(text) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("batch", "needs no name"),
        ("reed", "one of capabilities, read, "),
        ("everything", "such as \\$everything"),
        ("$", "neither"),
    ],
)
def test_unknown_interaction_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ALLOWED_INTERACTION.read(text)
