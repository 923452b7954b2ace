"""Answers of a hand-made server through a running proxy: codings, ranges, and all that is said of a body."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator, Callable, Mapping

import brotli
import pytest
from aiohttp import ClientPayloadError, ClientResponse, ClientSession, DummyCookieJar

from proxy.rules.coding import accept_encoding

from .fakes.byte_server import Peer, Script, byte_server
from .running import proxy_before

PDF = b"%PDF-1.4 " + bytes(range(256)) * 9
JSON = "application/fhir+json"

CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "Deflate": lambda body: zlib.compress(body)[2:-4],
    "br": brotli.compress,
    "gzip, br": lambda body: brotli.compress(gzip.compress(body)),
}


@pytest.fixture
async def tool() -> AsyncIterator[ClientSession]:
    async with ClientSession(
        cookie_jar=DummyCookieJar(), auto_decompress=False, skip_auto_headers=["Accept-Encoding"]
    ) as session:
        yield session


def answering(fields: Mapping[str, str], body: Callable[[str], bytes], status: str = "200 OK") -> Script:
    """A server that answers each request so; `BASE` in a field is its base URL, and `body` is given it."""

    async def script(peer: Peer) -> None:
        port = peer.writer.get_extra_info("sockname")[1]
        base = f"http://127.0.0.1:{port}/fhir/r4"
        head = await peer.head()
        content = body(base)
        length = {"Content-Length": str(len(content)), **fields}
        lines = "".join(
            f"{name.strip()}: {value.replace('BASE', base)}\r\n" for name, value in length.items()
        )
        await peer.send(f"HTTP/1.1 {status}\r\n{lines}\r\n".encode())
        if not head.startswith(b"HEAD "):
            await peer.send(content)

    return script


async def asked(
    tool: ClientSession, script: Script, target: str, method: str = "GET", **fields: str
) -> tuple[ClientResponse, bytes, str]:
    """The answer, its body, and the proxy's base URL."""
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    async with (
        byte_server(script) as server,
        proxy_before(f"http://127.0.0.1:{server.port}/fhir/r4") as proxy,
        tool.request(method, proxy.url + target, headers=headers) as response,
    ):
        return response, await response.read(), proxy.url


def linking(base: str) -> bytes:
    return f'{{"resourceType":"Bundle","link":[{{"relation":"self","url":"{base}?_getpages=1"}}],"n":1.10}}'.encode()


@pytest.mark.parametrize("accepted", ["identity", "gzip;q=0, *;q=0.5", "br, gzip", ""])
@pytest.mark.parametrize("coding", CODINGS)
async def test_coded_fhir_is_read_and_rewritten(tool: ClientSession, coding: str, accepted: str) -> None:
    fields = {
        "Content-Type": JSON,
        "Content-Encoding": coding,
        "ETag": '"1"',
        "Content-Digest": "sha-256=:x:",
    }
    script = answering(fields, lambda base: CODINGS[coding](linking(base)))
    response, body, url = await asked(tool, script, "/Patient", Accept_Encoding=accepted)

    assert body == linking(url)
    assert response.headers["Content-Length"] == str(len(body))
    assert response.headers["ETag"] == 'W/"1"'
    assert response.headers["Vary"] == "Accept-Encoding"
    assert not response.headers.keys() & {"Content-Encoding", "Content-Digest"}


@pytest.mark.parametrize(
    ("coding", "accepted", "is_undone"),
    [
        ("gzip", "gzip", False),
        ("gzip", "x-gzip", False),
        ("gzip", "*", False),
        ("gzip", "br, gzip;q=0.1", False),
        ("gzip", "gzip;q=0, *", True),
        ("gzip", "identity", True),
        ("br", "gzip", True),
        ("deflate", "gzip, *;q=0", True),
    ],
)
async def test_coded_content_passes_or_is_undone(
    tool: ClientSession, coding: str, accepted: str, is_undone: bool
) -> None:
    coded = CODINGS[coding](PDF)
    fields = {"Content-Type": "application/pdf", "Content-Encoding": coding, "ETag": '"1"', "Digest": "x"}
    script = answering(fields, lambda _: coded)
    response, body, _ = await asked(tool, script, "/Binary/1", Accept_Encoding=accepted)

    assert body == (PDF if is_undone else coded)
    assert response.headers["Content-Length"] == str(len(body))
    said = [response.headers.get(name) for name in ("ETag", "Content-Encoding", "Digest")]
    assert said == (['W/"1"', None, None] if is_undone else ['"1"', coding, "x"])


async def test_what_grows_beyond_measure_is_cut(tool: ClientSession) -> None:
    script = answering(
        {"Content-Type": JSON, "Content-Encoding": "gzip"}, lambda _: gzip.compress(b" " * 40_000_000)
    )
    with pytest.raises(ClientPayloadError):
        await asked(tool, script, "/Patient")


async def test_range_passes_as_it_is(tool: ClientSession) -> None:
    fields = {"Content-Type": JSON, "Content-Range": "bytes 0-9/900", "ETag": '"1"', "Accept-Ranges": "bytes"}
    script = answering(fields, lambda base: base.encode(), "206 Partial Content")
    response, body, url = await asked(tool, script, "/Binary/1", Range="bytes=0-9")

    assert body.startswith(b"http://127.0.0.1:")
    assert body != url.encode()
    assert {name: response.headers[name] for name in fields} == fields


async def test_head_tells_no_length_that_a_get_would_not_have(tool: ClientSession) -> None:
    script = answering({"Content-Type": JSON, "ETag": '"1"', "Accept-Ranges": "bytes"}, linking)
    response, body, _ = await asked(tool, script, "/Patient/1", method="HEAD")

    assert (body, response.headers["ETag"]) == (b"", 'W/"1"')
    assert not response.headers.keys() & {"Content-Length", "Accept-Ranges"}


async def test_not_modified(tool: ClientSession) -> None:
    script = answering({"ETag": '"1"', "Content-Length": "99"}, lambda _: b"", "304 Not Modified")
    response, _, _ = await asked(tool, script, "/Patient/1", If_None_Match='W/"1"')

    assert (response.status, response.headers["ETag"]) == (304, 'W/"1"')
    assert "Content-Length" not in response.headers


async def test_each_link_in_fields_is_local(tool: ClientSession) -> None:
    fields = {
        "Link": '<BASE/Patient?p=2>; rel="next"; title="a, <BASE>", </fhir/r4/x>; rel=self, <https://other.example>',
        "Link ": "<BASE>;rel=first",
        "Content-Location": "BASE/_operations/export/1",
        "Location": "Patient/1/_history/2",
    }
    script = answering(fields, lambda _: b"", "202 Accepted")
    response, _, url = await asked(tool, script, "/$export")

    first, second = response.headers.getall("Link")
    assert first.startswith(f'<{url}/Patient?p=2>; rel="next"; title="a, <http://127.0.0.1:')
    assert first.endswith('/fhir/r4>", </fhir/r4/x>; rel=self, <https://other.example>')
    assert second == f"<{url}>;rel=first"
    assert response.headers["Content-Location"] == f"{url}/_operations/export/1"
    assert response.headers["Location"] == "Patient/1/_history/2"


async def test_continuation_of_sixteen_kilobytes_comes_and_goes(tool: ClientSession) -> None:
    token = "a%2Bb%2F" * 2048
    script = answering(
        {"Content-Type": JSON}, lambda base: f'{{"link":[{{"url":"{base}/Patient?ct={token}"}}]}}'.encode()
    )
    response, body, url = await asked(tool, script, "/Patient?ct=" + token)

    assert response.status == 200
    assert body == f'{{"link":[{{"url":"{url}/Patient?ct={token}"}}]}}'.encode()


def test_codings_that_are_asked_for_can_be_read() -> None:
    assert {b"gzip", b"deflate", b"br"} <= set(accept_encoding().split(b", "))
