from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from proxy.sandbox.certificates import CertificateAuthority
from proxy.sandbox.tenant import CLINIC, Tenant

from ..browser import open_session


async def test_names_follow_the_port() -> None:
    certificates = CertificateAuthority.create()
    async with Tenant(certificates=certificates) as tenant:
        port = int(tenant.origin.rpartition(":")[2])

        assert tenant.authority == f"https://localhost:{port}/{CLINIC.id}"
        assert tenant.issuer == f"{tenant.authority}/"
        assert tenant.ca_pem == certificates.ca_pem


async def test_port_is_free_after_close() -> None:
    async with Tenant() as tenant:
        port = int(tenant.origin.rpartition(":")[2])
    again = Tenant()

    await again.start(port=port)

    assert again.origin.endswith(f":{port}")
    await again.close()


async def test_taken_port_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="address"):
        await Tenant().start(port=taken.getsockname()[1])


async def test_close_twice() -> None:
    tenant = Tenant()
    await tenant.start()

    await tenant.close()
    await tenant.close()


async def test_localhost_means_ipv4_as_well(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    async with Tenant() as tenant:
        file.write_bytes(tenant.ca_pem)
        url = tenant.origin.replace("localhost", "127.0.0.1") + f"/{CLINIC.id}/discovery/keys"
        with open_session(str(file)) as session:
            answer = await asyncio.to_thread(session.get, url)

    assert [key["alg"] for key in answer.json()["keys"]] == ["RS256"]
