from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

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


async def test_connection_that_is_handed_over_after_the_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    fronts: list[listening._Front] = []
    begin = listening._Front.__init__

    def noted(self: listening._Front, *args: object) -> None:
        fronts.append(self)
        begin(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(listening._Front, "__init__", noted)
    async with standing(answering(OK)) as (proxy, _):
        await proxy.stop(0)
    (front,) = fronts
    near, far = socket.socketpair()
    with far:
        far.settimeout(5)
        await asyncio.get_running_loop().connect_accepted_socket(front, near)

        assert b"" == await asyncio.to_thread(far.recv, 1)
    assert not front.connections


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


# Requests that are not plain, before aiohttp is loaded

NOT_PLAIN = b"GET /Patient/%d HTTP/1.1\r\nHost: %b\r\nAccept: a\r\nAccept: b\r\n\r\n"


class Loading:
    """Loads aiohttp's side when it is let, or fails to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.failures: list[Exception] = []
        self._load = listening.in_thread
        monkeypatch.setattr(listening, "in_thread", self)

    async def __call__(self, function: Callable[[], object]) -> object:
        self.begun.set()
        await self.go_on.wait()
        if self.failures:
            raise self.failures.pop()
        return await self._load(function)


async def connected(proxy: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
    url = URL(proxy.url)
    reader, writer = await asyncio.open_connection("127.0.0.1", url.port)
    return reader, writer, url.authority.encode()


async def test_requests_in_pieces_wait_for_aiohttp_and_hold_up_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loading = Loading(monkeypatch)
    async with (
        byte_server(answering(OK, OK, OK)) as fake,
        proxy_before(f"http://127.0.0.1:{fake.port}") as proxy,
    ):
        reader, writer, authority = await connected(proxy)
        request = NOT_PLAIN % (1, authority)
        writer.write(request[:20])
        await loading.begun.wait()
        plain = Tool(proxy)
        plain.send()
        assert (await plain.head()).startswith(b"HTTP/1.1 200 OK")
        writer.write(request[20:])
        await asyncio.sleep(0.01)
        loading.go_on.set()

        assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 OK")
        plain.leave()
        writer.close()


async def test_stop_answers_what_waits_for_aiohttp(monkeypatch: pytest.MonkeyPatch) -> None:
    loading = Loading(monkeypatch)
    async with byte_server(answering(OK)) as fake, proxy_before(f"http://127.0.0.1:{fake.port}") as proxy:
        reader, writer, authority = await connected(proxy)
        writer.write(NOT_PLAIN % (1, authority))
        await loading.begun.wait()
        stopping = asyncio.create_task(proxy.stop(10))
        await asyncio.sleep(0.01)
        loading.go_on.set()

        answer = await reader.readuntil(b"\r\n\r\nok")
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b"\r\nConnection: close\r\n" in answer
        await stopping
        writer.close()


async def test_load_that_fails_cuts_who_waits_and_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loading = Loading(monkeypatch)
    loading.failures.append(OSError("too many open files"))
    loading.go_on.set()
    async with byte_server(answering(OK)) as fake, proxy_before(f"http://127.0.0.1:{fake.port}") as proxy:
        first, writer, authority = await connected(proxy)
        writer.write(NOT_PLAIN % (1, authority))
        with suppress(ConnectionError):
            assert not await first.read()
        writer.close()
        second, writer, authority = await connected(proxy)
        writer.write(NOT_PLAIN % (2, authority))

        assert (await second.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 OK")
        writer.close()
    assert "aiohttp could not be loaded: OSError" in caplog.text
