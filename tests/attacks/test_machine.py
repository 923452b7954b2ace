"""A tenant that is killed, certificates that change under a running proxy: told while it lasts, over without a restart."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trustme
from aiohttp import ClientSession, DummyCookieJar

from proxy.sandbox.tenant import SECRET, SERVICE
from proxy.server import Proxy

from ..fakes.byte_server import ByteServer, Peer, byte_server
from ..fakes.clock import FakeClock
from ..running import proxy_before, unattended
from .tenant_process import authority_file, tenant_process

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HOURS = 2 * 3600.0
"""The tenant's tokens live for one."""


class Server:
    """Answers everything and keeps what it gets."""

    def __init__(self) -> None:
        self.received: list[bytes] = []

    async def __call__(self, peer: Peer) -> None:
        while True:
            head = await peer.head()
            length = b"".join(head.lower().partition(b"\r\ncontent-length: ")[2].split(b"\r\n")[:1])
            self.received.append(head + await peer.exactly(int(length or b"0")))
            await peer.send(OK)

    @property
    def tokens(self) -> list[bytes]:
        """Those of the requests, in their order."""
        return [
            head.partition(b"\r\nAuthorization: Bearer ")[2].partition(b"\r\n")[0] for head in self.received
        ]


@pytest.fixture
async def tool() -> AsyncIterator[ClientSession]:
    async with ClientSession(cookie_jar=DummyCookieJar()) as session:
        yield session


async def ask(tool: ClientSession, proxy: Proxy) -> tuple[int, str]:
    """The status, and what the tool is told where it is refused."""
    async with asyncio.timeout(20), tool.post(f"{proxy.url}/Patient", data=b"{}") as response:
        body = await response.read()
    if response.status == 200:
        assert body == b"ok"
        return 200, ""
    assert response.status != 503 or "Retry-After" in response.headers
    assert json.loads(body)["resourceType"] == "OperationOutcome"
    return response.status, body.decode()


# The tenant killed ---------------------------------------------------------------------------------------------------


async def test_tenant_that_is_killed_and_comes_back(tool: ClientSession, tmp_path: Path) -> None:
    ca_file, other_ca = authority_file(tmp_path / "ca.pem"), authority_file(tmp_path / "other.pem")
    clock, server = FakeClock(time.time()), Server()
    async with AsyncExitStack() as stack:
        port = (await stack.enter_async_context(byte_server(server))).port
        base_url = f"http://127.0.0.1:{port}"
        tenant, address = await stack.enter_async_context(tenant_process(0, ca_file, base_url))
        tenant_port = int(address.split(":")[2].partition("/")[0])
        signing_in: dict[str, object] = {
            "auth": "client-secret",
            "authority": address,
            "client_id": SERVICE.client_id,
            "client_secret": SECRET,
            "ca_bundle": str(ca_file),
        }
        holding, needing = [
            await stack.enter_async_context(
                proxy_before(base_url, replace(unattended(), clock=clock), **signing_in)
            )
            for _ in range(2)
        ]
        assert await ask(tool, holding) == (200, "")

        tenant.kill()
        await tenant.wait()
        assert [await ask(tool, holding) for _ in range(3)] == [(200, "")] * 3
        assert len(set(server.tokens)) == 1
        status, told = await ask(tool, needing)
        assert (status, f"localhost:{tenant_port} cannot be reached" in told) == (503, True), told
        clock.advance(HOURS)
        status, told = await ask(tool, holding)
        assert (status, f"localhost:{tenant_port} cannot be reached" in told) == (503, True), told
        assert len(server.received) == 4

        clock.advance(60)
        async with tenant_process(tenant_port, other_ca, base_url):  # somebody else at its address
            status, told = await ask(tool, holding)
            assert (status, "certificate that is not trusted" in told) == (503, True), told
            assert len(server.received) == 4

        clock.advance(60)
        async with tenant_process(tenant_port, ca_file, base_url):
            assert await ask(tool, holding) == (200, "")
            assert await ask(tool, needing) == (200, "")
        assert len(set(server.tokens)) == 3
        assert b"" not in server.tokens


# Certificates ---------------------------------------------------------------------------------------------------------


@dataclass
class Certified:
    """A proxy, and a server whose certificate can be exchanged while it runs."""

    proxy: Proxy
    server: Server
    fake: ByteServer
    authority: trustme.CA
    context: ssl.SSLContext

    async def take(self, certificate: trustme.LeafCert) -> None:
        """Show another certificate from now on; connections that know the old one end."""
        certificate.configure_cert(self.context)
        await self.fake.stop()  # its connections; it goes on listening


@pytest.fixture
async def certified(tmp_path: Path) -> AsyncIterator[Certified]:
    authority, context, server = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), Server()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("127.0.0.1").configure_cert(context)
    settings: dict[str, object] = {"auth": "token", "token": "opaque", "ca_bundle": str(tmp_path / "ca.pem")}
    async with (
        byte_server(server, context) as fake,
        proxy_before(f"https://127.0.0.1:{fake.port}", None, **settings) as proxy,
    ):
        yield Certified(proxy, server, fake, authority, context)


async def test_certificate_that_is_renewed_under_a_running_proxy(
    certified: Certified, tool: ClientSession
) -> None:
    assert await ask(tool, certified.proxy) == (200, "")
    for renewed in range(1, 3):
        await certified.take(certified.authority.issue_cert("127.0.0.1"))
        assert await ask(tool, certified.proxy) == (200, "")
        assert certified.fake.accepted == 1 + renewed


OTHERS: dict[str, tuple[Callable[[trustme.CA], trustme.LeafCert], str]] = {
    "of another authority": (lambda _: trustme.CA().issue_cert("127.0.0.1"), "--ca-bundle"),
    "of another name": (
        lambda authority: authority.issue_cert("other.example"),
        "is not valid for '127.0.0.1'.\"",
    ),
}


@pytest.mark.parametrize("which", OTHERS)
async def test_certificate_that_is_exchanged_under_a_running_proxy(
    which: str, certified: Certified, tool: ClientSession
) -> None:
    other, words = OTHERS[which]
    assert await ask(tool, certified.proxy) == (200, "")

    await certified.take(other(certified.authority))
    for _ in range(2):
        status, told = await ask(tool, certified.proxy)
        assert (status, "is not trusted" in told, words in told) == (502, True, True), told
    assert (len(certified.server.received), certified.fake.accepted) == (1, 1)  # it has got nothing to read

    await certified.take(certified.authority.issue_cert("127.0.0.1"))
    assert await ask(tool, certified.proxy) == (200, "")
    assert certified.server.tokens == [b"opaque"] * 2
