"""A connection that is opened while a request waits for its credentials."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from aiohttp import ClientSession

from proxy import upstream as module
from proxy.upstream import Upstream

from ..fakes.byte_server import Peer, answering, byte_server
from ..running import proxy_before
from .conftest import Connect, request, sized, whole

ANSWER = sized(b"{}")


async def opened(upstream: Upstream, connections: int) -> None:
    for _ in range(1000):
        if upstream.open_connections == connections:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{upstream.open_connections} connections")


serve = answering(ANSWER, ANSWER)


async def test_connection_is_there_before_the_request(connect: Connect) -> None:
    async with byte_server(serve) as server:
        upstream = connect(server.port)
        upstream.warm()
        upstream.warm()
        await opened(upstream, 1)
        sending = upstream.begin(request())
        assert sending is not None
        assert b"{}" == await whole(await upstream.answer_to(sending))
        assert 1 == upstream.open_connections


async def test_request_that_does_not_wait_has_no_second_connection(connect: Connect) -> None:
    async with byte_server(serve) as server:
        upstream = connect(server.port)
        upstream.warm()
        assert b"{}" == await whole(await upstream.send(request()))
        await asyncio.sleep(2 * module.WARMING_DELAY)
        assert 1 == upstream.open_connections


async def test_connection_that_ends_meanwhile_is_replaced(connect: Connect) -> None:
    async def closing_first(peer: Peer) -> None:
        if peer.number == 1:
            await peer.head()
            peer.reset()
        else:
            await serve(peer)

    async with byte_server(closing_first) as server:
        upstream = connect(server.port)
        upstream.warm()
        await opened(upstream, 1)
        assert b"{}" == await whole(await upstream.send(request()))


async def test_server_that_is_away_is_told_by_the_request_alone(connect: Connect) -> None:
    async with byte_server(serve) as server:
        port = server.port
    upstream = connect(port)
    upstream.warm()
    await asyncio.sleep(2 * module.WARMING_DELAY)

    assert 0 == upstream.open_connections
    upstream.warm()


async def test_end_does_not_wait_for_it(connect: Connect) -> None:
    async with byte_server(serve) as server:
        upstream = connect(server.port)
        upstream.warm()
        async with asyncio.timeout(5):
            await upstream.close()
        await asyncio.sleep(2 * module.WARMING_DELAY)
        assert 0 == upstream.open_connections


PRINTS_WHEN_THERE_IS_A_FILE = """
import pathlib, sys, time
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.01)
print("a" * 40)
"""


async def test_connection_is_opened_while_the_token_is_obtained(tmp_path: Path) -> None:
    """The program gives no token until the server has a connection."""
    mark = tmp_path / "connected"

    async def script(peer: Peer) -> None:
        mark.touch()
        await serve(peer)

    command = (sys.executable, "-c", PRINTS_WHEN_THERE_IS_A_FILE, str(mark))
    async with byte_server(script) as server, ClientSession() as tool:
        base = f"http://127.0.0.1:{server.port}/fhir"
        async with proxy_before(base, auth="command", command=command, command_timeout=20) as proxy:
            async with tool.get(f"{proxy.url}/Patient/1") as answer:
                assert (200, b"{}") == (answer.status, await answer.read())
