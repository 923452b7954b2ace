from __future__ import annotations

import asyncio
from base64 import b64encode

import pytest
import trustme

from proxy.errors import ConfigError, UpstreamTimeout, UpstreamUnreachable
from proxy.model import BaseUrl
from proxy.upstream import Timeouts, Tunnel, Upstream, tls_context, tunnel_for
from tests.fakes.byte_server import Peer, Script, answering, byte_server

from .conftest import request, server_side, sized, whole

PROXY = "http://proxy.example:3128"
THERE = Tunnel("proxy.example", 3128)

# base URL, environment, tunnel
ENVIRONMENTS: list[tuple[str, dict[str, str], Tunnel | None]] = [
    # which variable
    ("https://fhir.example", {}, None),
    ("https://fhir.example", {"HTTPS_PROXY": PROXY}, THERE),
    ("https://fhir.example", {"https_proxy": PROXY}, THERE),
    ("https://fhir.example", {"ALL_PROXY": PROXY}, THERE),
    ("https://fhir.example", {"all_proxy": PROXY}, THERE),
    ("https://fhir.example", {"HTTPS_PROXY": PROXY, "ALL_PROXY": "http://other.example"}, THERE),
    ("https://fhir.example", {"HTTPS_PROXY": "", "ALL_PROXY": PROXY}, THERE),
    ("https://fhir.example", {"HTTP_PROXY": PROXY, "http_proxy": PROXY}, None),
    # spellings
    ("https://fhir.example", {"HTTPS_PROXY": "proxy.example:3128"}, THERE),
    ("https://fhir.example", {"HTTPS_PROXY": " http://proxy.example:3128/ "}, THERE),
    ("https://fhir.example", {"HTTPS_PROXY": "http://proxy.example"}, Tunnel("proxy.example", 80)),
    ("https://fhir.example", {"HTTPS_PROXY": "http://[fd00::1]:3128"}, Tunnel("fd00::1", 3128)),
    # never for plain HTTP, never for this machine
    ("http://fhir.example", {"HTTPS_PROXY": PROXY, "ALL_PROXY": PROXY}, None),
    ("https://localhost:8443", {"HTTPS_PROXY": PROXY}, None),
    ("https://127.0.0.1", {"HTTPS_PROXY": PROXY}, None),
    ("https://[::1]", {"HTTPS_PROXY": PROXY}, None),
    # NO_PROXY
    ("https://fhir.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": ""}, THERE),
    ("https://fhir.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": ",, ,"}, THERE),
    ("https://fhir.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, None),
    ("https://fhir.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": "a.example, FHIR.example"}, None),
    ("https://fhir.example", {"HTTPS_PROXY": PROXY, "no_proxy": "a.example fhir.example"}, None),
    ("https://r4.fhir.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": ".fhir.example"}, None),
    ("https://r4.fhir.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": "*.fhir.example"}, None),
    ("https://r4.fhir.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": "fhir.example"}, None),
    ("https://evilfhir.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": "fhir.example,.fhir.example"}, THERE),
    ("https://fhir.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": "fhir.example:443"}, None),
    ("https://fhir.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": "fhir.example:8443"}, THERE),
    ("https://10.1.2.3", {"HTTPS_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8"}, None),
    ("https://11.1.2.3", {"HTTPS_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8"}, THERE),
    ("https://10.1.2.3:8443", {"HTTPS_PROXY": PROXY, "NO_PROXY": "10.1.2.3:8443"}, None),
    ("https://[fd00::1]", {"HTTPS_PROXY": PROXY, "NO_PROXY": "fd00::/8"}, None),
    ("https://[fd00::1]", {"HTTPS_PROXY": PROXY, "NO_PROXY": "[fd00:0::1]:443"}, None),
    ("https://[fd00::1]", {"HTTPS_PROXY": PROXY, "NO_PROXY": "[fd00::1]:8443"}, THERE),
]


@pytest.mark.parametrize(("base", "environment", "expected"), ENVIRONMENTS)
def test_tunnel_of_the_environment(base: str, environment: dict[str, str], expected: Tunnel | None) -> None:
    assert tunnel_for(BaseUrl.parse(base), environment) == expected


def test_credentials_of_the_proxy_are_decoded_and_never_print() -> None:
    tunnel = tunnel_for(
        BaseUrl.parse("https://fhir.example"), {"HTTPS_PROXY": "http://us%40er:p%3Aw@proxy.example"}
    )

    assert tunnel is not None
    assert tunnel.authorization == b"Basic " + b64encode(b"us@er:p:w")
    assert b64encode(b"us@er:p:w").decode() not in repr(tunnel)


@pytest.mark.parametrize(
    "url",
    [
        "socks5://u:secret@proxy.example",
        "https://u:secret@proxy.example",
        "http://",
        "http://u:secret@h:port",
        "http://u:secret@h:99999",
        "http://u:secret@[h",
    ],
)
def test_what_is_no_http_proxy_is_told_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError, match="HTTPS_PROXY is not the URL") as caught:
        tunnel_for(BaseUrl.parse("https://fhir.example"), {"HTTPS_PROXY": url})
    assert "secret" not in f"{caught.value.message}{caught.value.hint}"


def forwarding(seen: list[bytes], port: int) -> Script:
    """A CONNECT proxy: whatever name is asked for, it carries the bytes to a local port."""

    async def script(peer: Peer) -> None:
        seen.append(await peer.head())
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await peer.send(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n")

        async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while piece := await source.read(65536):
                sink.write(piece)
                await sink.drain()
            sink.close()

        back = asyncio.create_task(carry(reader, peer.writer))
        try:
            await carry(peer.reader, writer)
        finally:
            writer.transport.abort()
            back.cancel()
            await asyncio.wait({back})

    return script


async def test_server_is_reached_by_tls_within_the_tunnel(authority: trustme.CA, bundle: str) -> None:
    seen: list[bytes] = []
    large = bytes(range(256)) * 4096
    script = answering(sized(b"abc"), sized(large))
    async with (
        byte_server(script, server_side(authority, "fhir.example")) as server,
        byte_server(forwarding(seen, server.port)) as proxy,
    ):
        upstream = Upstream(
            BaseUrl("https", "fhir.example", 443),
            tls=tls_context(bundle),
            tunnel=Tunnel("127.0.0.1", proxy.port, b"Basic dTpw"),
        )
        bodies = [await whole(await upstream.send(request())) for _ in range(2)]
        await upstream.close()
        await proxy.until_closed()

    asked = b"CONNECT fhir.example:443 HTTP/1.1\r\nHost: fhir.example:443\r\nProxy-Authorization: Basic dTpw\r\n\r\n"
    assert (bodies, seen) == ([b"abc", large], [asked])


async def test_certificate_is_verified_within_the_tunnel(authority: trustme.CA, bundle: str) -> None:
    seen: list[bytes] = []
    async with (
        byte_server(answering(b""), server_side(authority, "other.example")) as server,
        byte_server(forwarding(seen, server.port)) as proxy,
    ):
        tunnel = Tunnel("127.0.0.1", proxy.port)
        upstream = Upstream(BaseUrl("https", "fhir.example", 443), tls=tls_context(bundle), tunnel=tunnel)
        with pytest.raises(UpstreamUnreachable, match=r"certificate of fhir\.example is not trusted"):
            await upstream.send(request())
        await proxy.until_closed()


REFUSALS = {
    "credentials": (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", r"asks for credentials \(407\)"),
    "forbidden": (b"HTTP/1.1 403 Forbidden\r\nA: b\r\n\r\n<html>", "refused with 403"),
    "not HTTP": (b"SSH-2.0\r\n\r\n", "not HTTP"),
    "odd status": (b"HTTP/1.1 xyz\r\n\r\n", "not HTTP"),
    "endless head": (b"HTTP/1.1 200 OK\r\nA: " + b"a" * 20_000, "more than a head"),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_refusal_of_the_proxy_is_explained(case: str) -> None:
    reply, words = REFUSALS[case]
    async with byte_server(answering(reply)) as proxy:
        tunnel = Tunnel("127.0.0.1", proxy.port)
        upstream = Upstream(BaseUrl("https", "fhir.example", 443), tls=tls_context(), tunnel=tunnel)
        with pytest.raises(UpstreamUnreachable, match=rf"^No tunnel to fhir\.example: .*{words}"):
            await upstream.send(request())
        await proxy.until_closed()


async def test_proxy_that_leaves_is_explained() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        peer.close()

    async with byte_server(script) as proxy:
        tunnel = Tunnel("127.0.0.1", proxy.port)
        upstream = Upstream(BaseUrl("https", "fhir.example", 443), tls=tls_context(), tunnel=tunnel)
        with pytest.raises(UpstreamUnreachable, match="closed the connection"):
            await upstream.send(request())


async def test_proxy_that_is_silent_is_given_up() -> None:
    async with byte_server(answering(b"")) as proxy:
        upstream = Upstream(
            BaseUrl("https", "fhir.example", 443),
            tls=tls_context(),
            tunnel=Tunnel("127.0.0.1", proxy.port),
            timeouts=Timeouts(connect=0.1),
        )
        with pytest.raises(UpstreamTimeout, match=r"within 0\.1 s"):
            await upstream.send(request())
        await proxy.until_closed()
