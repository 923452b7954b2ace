"""Storage accounts among the server's addresses: there and back, and nobody who only looks like one."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import BaseUrl
from proxy.rules.rewriting import Rewriter, request_rewriter, response_rewriter
from proxy.rules.urls import StorageTarget, UrlMap

KEY = "/k/Secret-key_1"
ACCOUNT, OTHER = "account.blob.core.windows.net", "localhost:10000"
AUTHORITIES = ("localhost:8080", "127.0.0.1:8080", "[::1]:8080")
FHIR = BaseUrl.parse("https://fhir.example.org/fhir")
URL_MAP = UrlMap(FHIR, authorities=AUTHORITIES, accounts=(ACCOUNT, OTHER))
WITH_KEY = UrlMap(FHIR, authorities=AUTHORITIES, accounts=(ACCOUNT, OTHER), key_path=KEY)
WITHOUT = UrlMap(FHIR, authorities=AUTHORITIES)
LOCAL = b"http://localhost:8080/fhir"
MOUNT = b"/.fhir-auth-proxy/storage/"

DOWN = [
    # as it comes, as the tool gets it
    (b"https://account.blob.core.windows.net/job/Patient-1.ndjson", b"%s/job/Patient-1.ndjson"),
    (b"https://account.blob.core.windows.net/c/f?sv=2020&sig=a%2Fb%3D", b"%s/c/f?sv=2020&sig=a%2Fb%3D"),
    (b"https://account.blob.core.windows.net", b"%s"),
    (b"https://account.blob.core.windows.net/", b"%s/"),
    (b"HTTPS://Account.Blob.core.windows.net:443/c/f", b"%s/c/f"),
    (b"https://account.blob.core.windows.net:443:443/c/f", b"%s/c/f"),
]


@pytest.mark.parametrize(("url", "expected"), DOWN)
def test_listed_accounts_become_local(url: bytes, expected: bytes) -> None:
    local = LOCAL + MOUNT + ACCOUNT.encode()

    assert expected.replace(b"%s", local) == URL_MAP.location_down(url, LOCAL)


def test_account_on_another_port_becomes_local() -> None:
    down = URL_MAP.location_down(b"https://localhost:10000/c/f", LOCAL)

    assert down == LOCAL + MOUNT + b"localhost:10000/c/f"


STAY = [
    b"https://account.blob.core.windows.net.evil.example/c/f",
    b"https://evil.account.blob.core.windows.net/c/f",
    b"https://xaccount.blob.core.windows.net/c/f",
    b"https://account.blob.core.windows.net-evil.example/c/f",
    b"https://account.blob.core.windows.net:8443/c/f",
    b"https://account.blob.core.windows.net:4430/c/f",
    b"https://account.blob.core.windows.net@evil.example/c/f",
    b"https://account.blob.core.windows.net:443@evil.example/c/f",
    b"https://user@account.blob.core.windows.net/c/f",
    b"http://account.blob.core.windows.net/c/f",
    b"http://account.blob.core.windows.net:443/c/f",
    b"ftp://account.blob.core.windows.net/c/f",
    b"https://account.dfs.core.windows.net/c/f",
    b"https://other.blob.core.windows.net/c/f",
    b"https://localhost/c/f",
    b"https://localhost:100000/c/f",
    b"http://localhost:10000/c/f",
    b"https://evil.example/https://account.blob.core.windows.net/c/f",
    b"//account.blob.core.windows.net/c/f",
    b"/c/f",
]


@pytest.mark.parametrize("url", STAY)
def test_nothing_else_does(url: bytes) -> None:
    body = json.dumps({"output": [{"url": url.decode()}]}).encode()

    assert url == URL_MAP.location_down(url, LOCAL)
    assert body == fed(response_rewriter("application/json", URL_MAP, LOCAL), body)


@pytest.mark.parametrize("url", [url for url, _ in DOWN])
def test_without_accounts_all_stays(url: bytes) -> None:
    assert url == WITHOUT.location_down(url, LOCAL)
    assert WITHOUT.storage_target(MOUNT + b"account.blob.core.windows.net/c/f") is None


MANIFEST = """{"transactionTime":"2026-01-01T00:00:00Z", "request":"%(fhir)s/$export",
 "requiresAccessToken":false,
 "output":[{"type":"Patient","url":"%(account)s/j/Patient-1.ndjson","count":3},
           {"type":"Binary","url":"https://elsewhere.blob.core.windows.net/j/Binary-1.ndjson"}],
 "error":[{"type":"OperationOutcome","url":"%(account)s/j/e.ndjson"}],
 "deleted":[{"type":"Bundle","url":"%(account)s/j/d.ndjson"}],
 "extension":{"url":"%(account)s/identity", "note":"see %(account)s/j/x"}}"""


def test_manifest_leads_here_and_identities_stay() -> None:
    sent = {"fhir": "https://fhir.example.org/fhir", "account": f"https://{ACCOUNT}"}
    got = {"fhir": LOCAL.decode(), "account": (LOCAL + MOUNT).decode() + ACCOUNT}
    body = (MANIFEST % sent).encode()
    down = fed(response_rewriter("application/json", URL_MAP, LOCAL), body)
    expected = (MANIFEST % got).replace(f'{got["account"]}/identity", "note":"see {got["account"]}', "%s") % (
        f'{sent["account"]}/identity", "note":"see {sent["account"]}'
    )

    assert expected.encode() == down
    assert body == fed(request_rewriter("application/json", URL_MAP), down)


PATHS = st.text(st.sampled_from("abz019-_.$/"), max_size=12).map(lambda text: "/" + text)
QUERIES = st.sampled_from(["", "?sv=2020-04-08&sig=a%2Fb%2Bc%3D", "?versionid=1", "?u=http%3A%2F%2Fx%2Fy"])
BASES = st.sampled_from([f"https://{ACCOUNT}", f"https://{OTHER}", "https://fhir.example.org/fhir"])
URLS = st.builds("{}{}{}".format, BASES, PATHS, QUERIES)
SPELLINGS = st.sampled_from(
    [
        lambda url: url,
        lambda url: url.replace("/", r"\/"),
        lambda url: url.replace("/", r"\u002f").replace(":", r"\u003a"),
    ]
)
NAMES = st.sampled_from(["url", "reference", "fullUrl", "system"])
PARENTS = st.sampled_from(["output", "error", "photo", "link", "extension"])


@given(URLS, st.sampled_from([b"", b"/fhir"]), st.sampled_from([URL_MAP, WITH_KEY]))
def test_there_and_back(url: str, mount: bytes, url_map: UrlMap) -> None:
    key_path = KEY.encode() if url_map is WITH_KEY else b""
    local_base = url_map.local_base(b"localhost:8080", key_path + mount)
    down = url_map.location_down(url.encode(), local_base)

    assert url.encode() == url_map.text_up(down)
    assert down.startswith(local_base)


@given(
    st.lists(st.tuples(PARENTS, NAMES, URLS, SPELLINGS), max_size=5),
    st.integers(1, 50),
    st.integers(0, 120),
    st.booleans(),
)
def test_bodies_go_there_and_back_wherever_they_are_cut(
    items: list[tuple], size: int, first: int, with_key: bool
) -> None:
    url_map = WITH_KEY if with_key else URL_MAP
    local_base = url_map.local_base(b"127.0.0.1:8080", (KEY.encode() if with_key else b"") + b"/fhir")
    body = ",".join(
        f'"{parent}":[{{"{name}":"{spelled(url)}"}}]' for parent, name, url, spelled in items
    ).join("{}")
    down = fed(response_rewriter("application/json", url_map, local_base), body.encode(), size, first)
    whole = fed(response_rewriter("application/json", url_map, local_base), body.encode())
    up = fed(request_rewriter("application/json", url_map), down, size, first)

    assert whole == down
    assert body.encode() == up
    assert not re.search(rb"127\.0\.0\.1|8080|Secret|fhir-auth-proxy", up)


TARGETS = [
    (b"/.fhir-auth-proxy/storage/a.example/c/f?sig=x", (b"", "a.example", b"/c/f?sig=x")),
    (b"/fhir/.fhir-auth-proxy/storage/a.example/c/f", (b"/fhir", "a.example", b"/c/f")),
    (b"/.fhir-auth-proxy/storage/a.example", (b"", "a.example", b"/")),
    (b"/.fhir-auth-proxy/storage//x", (b"", "", b"/x")),
    (
        b"/.fhir-auth-proxy/storage/a.example/c/f?u=http%3A%2F%2Flocalhost%3A8080%2Fx",
        (b"", "a.example", b"/c/f?u=https%3A%2F%2Ffhir.example.org%2Ffhir%2Fx"),
    ),
    (b"/.fhir-auth-proxy/storagex/a.example/c", None),
    (b"/.fhir-auth-proxy/storage", None),
    (b"/Patient?x=/.fhir-auth-proxy/storage/a/b", None),
    (b"/other/.fhir-auth-proxy/storage/a.example/c", None),
    (b"*", None),
]


@pytest.mark.parametrize(("target", "expected"), TARGETS)
def test_targets(target: bytes, expected: tuple[bytes, str, bytes] | None) -> None:
    assert (expected and StorageTarget(*expected)) == URL_MAP.storage_target(target)


def test_unlisted_account_of_ours_never_goes_up() -> None:
    sent = b'{"url":"http://localhost:8080/.fhir-auth-proxy/storage/evil.example/x"}'
    up = fed(request_rewriter("application/json", URL_MAP), sent)

    assert up == b'{"url":"https://fhir.example.org/fhir/.fhir-auth-proxy/storage/evil.example/x"}'


def fed(rewriter: Rewriter | None, body: bytes, size: int = 1 << 30, first: int = 0) -> bytes:
    assert rewriter is not None
    pieces = [body[:first], *(body[at : at + size] for at in range(first, len(body), size))]
    return b"".join([*(rewriter.feed(piece) for piece in pieces), rewriter.flush()])
