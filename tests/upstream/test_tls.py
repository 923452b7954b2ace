from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from proxy.errors import ConfigError, UpstreamUnreachable
from proxy.model import BaseUrl
from proxy.upstream import Upstream, tls_context
from tests.fakes.byte_server import Peer, answering, byte_server

from .conftest import OK, request, server_side, sized, whole


def test_context_verifies_and_starts_at_tls_1_2(bundle: str) -> None:
    context = tls_context(bundle)

    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("content", [b"", b"not a certificate", b"\x30\x82\x01\x0a", None])
def test_file_that_holds_no_certificate_is_told_by_name(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "authority.pem"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ConfigError, match=r"^ca_bundle = .*authority\.pem"):
        tls_context(str(path))


@pytest.mark.parametrize("content", [None, b"not a certificate"])
async def test_odd_environment_spoils_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authority: trustme.CA, bundle: str, content: bytes | None
) -> None:
    path = tmp_path / "odd.pem"
    if content is not None:
        path.write_bytes(content)
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(path))

    async with byte_server(answering(sized(b"abc")), server_side(authority, "127.0.0.1")) as server:
        upstream = Upstream(BaseUrl("https", "127.0.0.1", server.port), tls=tls_context(bundle))
        body = await whole(await upstream.send(request()))
        await upstream.close()

    assert body == b"abc"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_exchange_over_tls_reuses_its_connection(authority: trustme.CA, bundle: str, host: str) -> None:
    protocols: list[str | None] = []

    async def script(peer: Peer) -> None:
        protocols.append(peer.writer.get_extra_info("ssl_object").selected_alpn_protocol())
        for _ in range(3):
            await peer.head()
            await peer.send(sized(b"abc"))

    async with byte_server(script, server_side(authority, "127.0.0.1", "localhost")) as server:
        upstream = Upstream(BaseUrl("https", host, server.port), tls=tls_context(bundle))
        bodies = [await whole(await upstream.send(request())) for _ in range(3)]
        await upstream.close()
        await server.until_closed()

    assert (bodies, server.accepted, protocols) == ([b"abc"] * 3, 1, ["http/1.1"])


@pytest.mark.parametrize(("signed", "complete"), [(True, True), (False, False)])
async def test_body_ends_with_the_connection_only_by_a_signed_end(
    authority: trustme.CA, bundle: str, signed: bool, complete: bool
) -> None:
    """Without close_notify anybody on the way could have cut the body (RFC 9112 section 9.8)."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(OK + b"\r\nabc")
        if signed:
            peer.close()
        else:
            peer.reset()

    async with byte_server(script, server_side(authority, "127.0.0.1")) as server:
        upstream = Upstream(BaseUrl("https", "127.0.0.1", server.port), tls=tls_context(bundle))
        answer = await upstream.send(request())
        if complete:
            assert await whole(answer) == b"abc"
        else:
            with pytest.raises(UpstreamUnreachable, match="broke off its answer"):
                await whole(answer)
        await upstream.close()


async def failure(tls: ssl.SSLContext, server_tls: ssl.SSLContext | None) -> UpstreamUnreachable:
    async with byte_server(answering(b""), server_tls) as server:
        upstream = Upstream(BaseUrl("https", "127.0.0.1", server.port), tls=tls)
        with pytest.raises(UpstreamUnreachable) as caught:
            await upstream.send(request("GET", b"/Patient?name=secret"))
        await upstream.close()
        await server.until_closed()
    assert f"127.0.0.1:{server.port}" in caught.value.message
    assert "secret" not in f"{caught.value.message}{caught.value.hint}"
    return caught.value


async def test_unknown_authority_is_explained(bundle: str) -> None:
    error = await failure(tls_context(bundle), server_side(trustme.CA(), "127.0.0.1"))

    assert "is not trusted" in error.message
    assert "--ca-bundle" in error.hint


async def test_certificate_of_another_name_is_explained(authority: trustme.CA, bundle: str) -> None:
    error = await failure(tls_context(bundle), server_side(authority, "other.example"))

    assert "is not trusted" in error.message
    assert "name" in error.hint
    assert "--ca-bundle" not in error.hint


async def test_server_without_tls_is_explained(bundle: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with byte_server(script) as server:
        upstream = Upstream(BaseUrl("https", "127.0.0.1", server.port), tls=tls_context(bundle))
        with pytest.raises(UpstreamUnreachable, match="TLS with") as caught:
            await upstream.send(request())

    assert "HTTPS" in caught.value.hint


async def test_old_tls_is_refused(authority: trustme.CA, bundle: str) -> None:
    old = server_side(authority, "127.0.0.1")
    with pytest.warns(DeprecationWarning, match="deprecated"):
        old.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="deprecated"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("DEFAULT@SECLEVEL=0")

    error = await failure(tls_context(bundle), old)

    assert "TLS with" in error.message
