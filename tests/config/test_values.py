from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.reading import WrongValues, read
from proxy.config.values import (
    AdminListenSetting,
    AllowedHost,
    AllowedInteraction,
    AllowedOrigin,
    AuthorityHost,
    ListenAddress,
    ListenSetting,
    Tenant,
    TokenCache,
    UrlSetting,
)
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
    (AuthorityHost, "login.microsoftonline.us", "login.microsoftonline.us"),
    (AuthorityHost, "https://login.microsoftonline.us", "login.microsoftonline.us"),
    (AuthorityHost, "https://Login.MicrosoftOnline.us/", "login.microsoftonline.us"),
    (AuthorityHost, "", ""),
    # names of a listener
    (AllowedHost, "Fhir-Proxy", "fhir-proxy"),
    (AllowedHost, "localhost:9000", "localhost:9000"),
    (AllowedHost, "[::1]:80", "[::1]:80"),
    # origins as browsers send them
    (AllowedOrigin, "http://localhost:3000", "http://localhost:3000"),
    (AllowedOrigin, "https://app.example.org", "https://app.example.org"),
    (AllowedOrigin, "http://[::1]:3000", "http://[::1]:3000"),
    # tenants
    (Tenant, "11111111-1111-1111-1111-111111111111", "11111111-1111-1111-1111-111111111111"),
    (Tenant, "example.onmicrosoft.com", "example.onmicrosoft.com"),
    (Tenant, "", ""),
    # where sign-ins are kept
    (TokenCache, "file", "file"),
    (TokenCache, "redis://cache", "redis://cache"),
    (
        TokenCache,
        "rediss://ada:p%40ss:word@cache.example:6380/2",
        "rediss://ada:p%40ss:word@cache.example:6380/2",
    ),
    (TokenCache, "rediss://:word@[::1]/", "rediss://:word@[::1]/"),
    # a value that has been read already stays as it is
    (UrlSetting, BaseUrl("https", "h", 443), BaseUrl("https", "h", 443)),
    (ListenSetting, ListenAddress("h", 1), ListenAddress("h", 1)),
    (ListenSetting, 8080, ListenAddress("localhost", 8080)),
    (AdminListenSetting, "off", None),
    (AdminListenSetting, "0.0.0.0:8079", ListenAddress("0.0.0.0", 8079)),
]


@pytest.mark.parametrize(("kind", "value", "expected"), SETTINGS)
def test_setting_is_read(kind: type, value: object, expected: object) -> None:
    assert expected == read(kind, value)


WRONG_SETTINGS = [
    (AuthorityHost, "http://login.microsoftonline.us", "is not a host such as"),
    (AuthorityHost, "https://login.microsoftonline.us/tenant", "is not a host such as"),
    (AuthorityHost, "https://user@login.microsoftonline.us", "is not a host such as"),
    (AllowedHost, "*", "is a pattern"),
    (AllowedHost, "*.example.org", "is a pattern"),
    (AllowedHost, "http://example.org", "is not a host name"),
    (AllowedHost, "", "is not a host name"),
    (AllowedOrigin, "*", "would let in pages that nobody knows"),
    (AllowedOrigin, "null", "would let in pages that nobody knows"),
    *(
        (AllowedOrigin, text, "is not an origin as browsers send it")
        for text in (
            *("", "app.example.org", "https://*.example.org", "https://app.example.org/", "file://"),
            *("HTTPS://app.example.org", "https://App.example.org", "https://a.example, https://b.example"),
            *("https://user@app.example.org", "ftp://app.example.org", "https://", "https://a.example:"),
            *("https://a.example:0", "https://a.example:0443", "https://a.example\n"),
        )
    ),
    *(
        (AllowedOrigin, text, "has a port that no browser sends")
        for text in ("https://a.example:443", "http://a.example:80", "http://a.example:65536")
    ),
    (Tenant, "../common", "is neither a GUID nor a domain name"),
    (Tenant, "a/b", "is neither a GUID nor a domain name"),
    (Tenant, "..", "is neither a GUID nor a domain name"),
    (UrlSetting, 1, "is not text"),
    (UrlSetting, {"scheme": "https", "host": "h", "port": 1}, "is not text"),
    (ListenSetting, True, "is neither text nor a port"),
    (ListenSetting, {"host": "h", "port": 1}, "is neither text nor a port"),
    (ListenSetting, 65536, "has a port that is not a number"),
    (TokenCache, "", "is neither one of auto, encrypted, file, none nor a URL rediss://"),
    (TokenCache, "disk", "is neither one of"),
    (TokenCache, "http://cache", "is neither one of"),
    (TokenCache, "rediss://", "is neither one of"),
    (TokenCache, "rediss://a/b@cache", "is neither one of"),
    (TokenCache, "rediss://cache/first", "is neither one of"),
    (TokenCache, "rediss://cache?ssl_cert_reqs=none", "is neither one of"),
    (TokenCache, "rediss://cache:65536", "has a port that is not a number"),
]


@pytest.mark.parametrize(("kind", "value", "phrase"), WRONG_SETTINGS)
def test_wrong_setting_says_why(kind: type, value: object, phrase: str) -> None:
    with pytest.raises(WrongValues, match=phrase):
        read(kind, value)


@pytest.mark.parametrize(
    ("text", "value"), [("read", "read"), ("$Everything", "$everything"), ("operation", "operation")]
)
def test_allowed_interaction_is_read(text: str, value: str) -> None:
    assert read(AllowedInteraction, text) == value


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
    with pytest.raises(WrongValues, match=words):
        read(AllowedInteraction, text)
