"""A laptop's life: it sleeps, changes its network, and servers move; the next request works each time."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
import trustme

from proxy.model import BaseUrl
from proxy.upstream import Timeouts, Upstream, tls_context
from proxy.upstream.probing import Road, SleepWatch
from tests.fakes.byte_server import Peer, byte_server

from .conftest import Connect, request, sized, whole


async def numbered(peer: Peer) -> None:
    """Answers with the number of the connection."""
    while True:
        await peer.head()
        await peer.send(sized(b"%d" % peer.number))


async def body_of(upstream: Upstream, method: str = "GET") -> bytes:
    return await whole(await upstream.send(request(method)))


class Wall:
    """A clock on the wall that somebody sets."""

    def __init__(self) -> None:
        self.ahead = 1_000_000.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead


@pytest.mark.parametrize(
    ("seconds", "body"), [(0, b"1"), (4, b"1"), (-3600, b"1"), (6, b"2"), (36_000, b"2")]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_machine_that_slept_uses_no_connection_of_before(
    connect: Connect, seconds: float, body: bytes, method: str
) -> None:
    async with byte_server(numbered) as server:
        upstream, wall = connect(server.port), Wall()
        upstream._pool.idle._sleep = SleepWatch(asyncio.get_running_loop(), wall)
        assert b"1" == await body_of(upstream)
        wall.ahead += seconds
        assert [body, body] == [await body_of(upstream, method), await body_of(upstream, method)]


async def test_connection_from_an_address_that_is_gone_is_not_used(connect: Connect) -> None:
    async with byte_server(numbered) as server:
        upstream = connect(server.port)
        await body_of(upstream)
        (idle,) = upstream._pool.idle._kept
        assert idle.road == Road("127.0.0.1", ("127.0.0.1", server.port))
        idle.idle_since -= 1.5
        assert b"1" == await body_of(upstream)
        idle.idle_since -= 1.5
        idle.road = replace(idle.road, local="192.0.2.7")  # TEST-NET-1, no network of this machine
        assert b"2" == await body_of(upstream)


ROADS = [
    (Road("127.0.0.1", ("127.0.0.1", 9)), True),
    (Road("192.0.2.7", ("127.0.0.1", 9)), False),
    (Road("127.0.0.1", ("not an address", 9)), False),
]


@pytest.mark.parametrize(("road", "is_open"), ROADS)
def test_system_is_asked_for_the_road(road: Road, is_open: bool) -> None:
    assert is_open == road.is_open


async def test_connection_gets_no_older_than_its_life(connect: Connect) -> None:
    async with byte_server(numbered) as server:
        upstream = connect(server.port, timeouts=Timeouts(life=300))
        await body_of(upstream)
        (idle,) = upstream._pool.idle._kept
        assert 50 == idle.idle_limit
        idle.opened_at -= 280
        assert b"1" == await body_of(upstream)
        assert 19 < idle.idle_limit <= 20
        idle.opened_at -= 20
        assert [b"1", b"2"] == [await body_of(upstream), await body_of(upstream)]


class Names:
    """A resolver, for which every name leads to one local port."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def getaddrinfo(self, host: str, port: int, *, type: int) -> list[tuple[object, ...]]:  # noqa: A002
        assert host == "fhir.example"
        return [(socket.AF_INET, type, socket.IPPROTO_TCP, "", ("127.0.0.1", self.port))]


@pytest.mark.parametrize("old_one_answers", [True, False])
async def test_name_that_moves_is_followed(monkeypatch: pytest.MonkeyPatch, old_one_answers: bool) -> None:
    async with byte_server(numbered) as new, AsyncExitStack() as stack:
        old = await stack.enter_async_context(byte_server(numbered))
        names = Names(old.port)
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", names.getaddrinfo)
        upstream = Upstream(BaseUrl("http", "fhir.example", 80), tls=None)
        stack.push_async_callback(upstream.close)
        await body_of(upstream)
        names.port = new.port
        if old_one_answers:
            upstream._pool.idle._kept[0].opened_at -= 300
            await body_of(upstream)
        else:
            await old.stop()
            await old.until_closed()
        await body_of(upstream)

        assert (1, 1) == (old.accepted, new.accepted)


async def test_renewed_certificate_is_accepted(authority: trustme.CA, bundle: str) -> None:
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(served)

    async def once(peer: Peer) -> None:
        await peer.head()
        await peer.send(sized(b"%d" % peer.number))
        peer.close()

    async with byte_server(once, served) as server:
        upstream = Upstream(BaseUrl("https", "127.0.0.1", server.port), tls=tls_context(bundle))
        try:
            assert b"1" == await body_of(upstream)
            authority.issue_cert("127.0.0.1").configure_cert(served)
            assert b"2" == await body_of(upstream)
        finally:
            await upstream.close()
