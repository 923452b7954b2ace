"""The doctor behind a corporate proxy, and before certificates of all kinds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import certifi
import pytest

from proxy.config import ServerConfig
from proxy.sandbox.certificates import CertificateAuthority
from proxy.sandbox.fhir import FhirServer

from ..fakes.byte_server import Peer, byte_server
from ..fakes.connect_proxy import tunnelling
from .walking import FAILED, OK, SKIPPED, WARNING, walked


@pytest.fixture(scope="module")
def authority() -> CertificateAuthority:
    return CertificateAuthority.create()


@pytest.fixture
def bundle(authority: CertificateAuthority, tmp_path: Path) -> str:
    file = tmp_path / "ca.pem"
    file.write_bytes(authority.ca_pem)
    return str(file)


@asynccontextmanager
async def behind_a_proxy(
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[int]:
    """A FHIR server at https://fhir.example, which only the proxy of HTTPS_PROXY reaches; its port."""
    server = FhirServer(patients=3)
    await server.start(ssl_context=authority.server_context("fhir.example"), name="127.0.0.1")
    port = int(server.base_url.rpartition(":")[2])

    try:
        async with byte_server(tunnelling("fhir.example:443", port)) as proxy:
            for variable in ("https_proxy", "no_proxy", "NO_PROXY"):
                monkeypatch.delenv(variable, raising=False)
            monkeypatch.setenv("HTTPS_PROXY", f"http://user:password@127.0.0.1:{proxy.port}")
            yield proxy.port
    finally:
        await server.close()


def settings(bundle: str) -> ServerConfig:
    return ServerConfig.of(
        {
            "base_url": "https://fhir.example",
            "auth": "anonymous",
            "listen": "127.0.0.1:0",
            "ca_bundle": bundle,
        }
    )


async def test_proxy_in_between_is_named_and_its_password_is_not(
    authority: CertificateAuthority, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with behind_a_proxy(authority, monkeypatch) as port:
        walk = await walked(settings(bundle))

    assert walk.statuses() == {"tls": WARNING, "token": SKIPPED}
    assert f"127.0.0.1:{port}" in walk["configuration"].verdict.details["https_proxy"]
    assert "the proxy of HTTPS_PROXY" in walk["name"].verdict.found
    assert "no public authority" in walk["tls"].verdict.cause
    assert "TLS inspection" in walk["tls"].verdict.fix
    assert "password" not in walk.text


async def test_certificate_of_a_public_authority_is_no_reason_for_a_remark(
    authority: CertificateAuthority, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certifi, "where", lambda: bundle)
    async with behind_a_proxy(authority, monkeypatch):
        walk = await walked(settings(bundle))

    assert walk.statuses() == {"token": SKIPPED}
    assert walk["tls"].verdict.details["public_authority"] == "yes"


async def test_certificate_that_an_inspecting_proxy_made_is_told_with_its_issuer(
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with behind_a_proxy(authority, monkeypatch):
        walk = await walked(settings(""))

    assert (walk["tls"].verdict.status, walk.report.exit_status) == (FAILED, 12)
    assert "issued by fhir-auth-proxy sandbox CA" in walk["tls"].verdict.cause
    assert "--ca-bundle" in walk["tls"].verdict.fix


async def test_port_that_speaks_no_tls_is_told() -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.read(1)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with byte_server(script) as server:
        base_url = f"https://localhost:{server.port}"
        walk = await walked(settings("").replace(base_url=_base(base_url)))

    assert [walk[step].verdict.status for step in ("connection", "tls")] == [OK, FAILED]
    assert "HTTPS" in walk["tls"].verdict.fix


def _base(url: str) -> object:
    return ServerConfig.of({"base_url": url}).base_url
