from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from yarl import URL

from proxy import listening
from proxy.server import Proxy

from .fakes.byte_server import Peer, Script, answering, byte_server
from .running import proxy_before

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LONG = 3600.0


class Tool:
    """A tool's connection, made while the event loop stands: the proxy has not accepted it yet."""

    def __init__(self, proxy: Proxy) -> None:
        url = URL(proxy.url)
        self._request = f"GET /Patient/1 HTTP/1.1\r\nHost: {url.authority}\r\n\r\n".encode()
        assert url.port is not None
        self._address = ("127.0.0.1", url.port)
        self._socket = socket.create_connection(self._address)
        self._socket.setblocking(False)
        self._loop = asyncio.get_running_loop()

    def send(self) -> None:
        self._socket.send(self._request)

    def leave(self) -> None:
        self._socket.close()

    async def head(self) -> bytes:
        """The head of one answer."""
        received = b""
        while not received.endswith(b"\r\n\r\nok"):
            piece = await self._loop.sock_recv(self._socket, 65536)
            assert piece, "closed before the answer"
            received += piece
        return received.partition(b"\r\n\r\n")[0]

    async def end(self) -> bytes:
        """What still comes before the end of the connection."""
        return await self._loop.sock_recv(self._socket, 65536)

    async def until_listener_is_gone(self) -> None:
        while True:
            try:
                _, writer = await asyncio.open_connection(*self._address)
            except OSError:
                return
            writer.close()


@asynccontextmanager
async def standing(script: Script, tools: int = 1) -> AsyncIterator[tuple[Proxy, list[Tool]]]:
    """A proxy and tools that have connected."""
    async with byte_server(script) as server, proxy_before(f"http://127.0.0.1:{server.port}") as proxy:
        connected = [Tool(proxy) for _ in range(tools)]
        try:
            async with asyncio.timeout(30):
                yield proxy, connected
        finally:
            for tool in connected:
                tool.leave()


async def test_connection_that_waits_to_be_accepted_is_served() -> None:
    async with standing(answering(OK), 20) as (proxy, tools):
        for tool in tools:
            tool.send()
        stopping = asyncio.create_task(proxy.stop(LONG))
        heads = await asyncio.gather(*(tool.head() for tool in tools))
        ends = [await tool.end() for tool in tools]
        await stopping

    assert [b"Connection: close" in head for head in heads] == [True] * 20
    assert ends == [b""] * 20


async def test_request_that_was_on_its_way_is_served() -> None:
    async with standing(answering(OK, OK, OK), 2) as (proxy, [fresh, kept]):
        kept.send()
        before = await kept.head()
        stopping = asyncio.create_task(proxy.stop(LONG))
        await fresh.until_listener_is_gone()
        heads = []
        for tool in (fresh, kept):
            tool.send()
            heads.append(await tool.head())
            assert await tool.end() == b""
        await stopping

    assert b"Connection: close" not in before
    assert all(b"\r\nConnection: close" in head for head in heads)


async def test_answer_that_was_awaited_at_the_stop_is_the_last_one() -> None:
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        asked.set()
        await may_answer.wait()
        await peer.send(OK)

    async with standing(script) as (proxy, [tool]):
        tool.send()
        await asked.wait()
        stopping = asyncio.create_task(proxy.stop(LONG))
        await tool.until_listener_is_gone()
        may_answer.set()
        head, end = await tool.head(), await tool.end()
        await stopping

    assert (b"\r\nConnection: close" in head, end) == (True, b"")


async def test_idle_connections_are_closed_after_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "GRACE_SECONDS", 0.01)
    async with standing(answering(OK), 2) as (proxy, [fresh, kept]):
        kept.send()
        await kept.head()
        await proxy.stop(LONG)
        ends = await fresh.end(), await kept.end()

    assert ends == (b"", b"")


async def test_stop_waits_for_nobody_where_nobody_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "GRACE_SECONDS", LONG)
    async with standing(answering(OK)) as (proxy, [tool]):
        tool.send()
        await tool.head()
        stopping = asyncio.create_task(proxy.stop(LONG))
        await tool.until_listener_is_gone()
        assert not stopping.done()
        tool.leave()
        await stopping


async def test_second_signal_ends_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "GRACE_SECONDS", LONG)
    async with standing(answering(OK)) as (proxy, [tool]):
        cut = asyncio.Event()
        stopping = asyncio.create_task(proxy.stop(LONG, cut))
        await tool.until_listener_is_gone()
        assert not stopping.done()
        cut.set()
        await stopping
        end = await tool.end()

    assert end == b""


async def test_drain_timeout_of_nothing_leaves_no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "GRACE_SECONDS", LONG)
    async with standing(answering(OK)) as (proxy, [tool]):
        await proxy.stop(0)
        end = await tool.end()

    assert end == b""


async def test_what_has_been_sent_reaches_a_tool_that_reads_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "GRACE_SECONDS", 0.01)
    size = 20_000_000  # more than both sockets hold
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
    async with standing(answering(whole)) as (proxy, [tool]):
        tool.send()
        await tool.end()
        stopping = asyncio.create_task(proxy.stop(LONG))
        received = 0
        while piece := await tool.end():
            received += len(piece)
        await stopping

    assert received > size - 65536
