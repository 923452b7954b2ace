from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import http_parser, web
from yarl import URL

from proxy.client_aiohttp import AiohttpParser, AiohttpServer
from proxy.client_limits import require_c_parser
from proxy.errors import ConfigError
from proxy.server import Proxy

from .fakes.byte_server import Peer, Script, answering, byte_server
from .running import proxy_before

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SHORT = 0.05
"""Seconds after which a limit ends what would never end by itself."""


@asynccontextmanager
async def before(script: Script, **settings: object) -> AsyncIterator[Proxy]:
    async with (
        byte_server(script) as server,
        proxy_before(f"http://127.0.0.1:{server.port}", **settings) as proxy,
    ):
        yield proxy


class Connection:
    """A tool that speaks exact bytes; `%h` stands for the proxy's Host."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.authority = (URL(proxy.url).authority).encode()
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data.replace(b"%h", self.authority))
        await self.writer.drain()

    async def answer(self) -> bytes:
        """The status line of the next answer, whose body has two bytes."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        await self.reader.readexactly(2)
        return head.split(b"\r\n")[0]

    async def rest(self) -> bytes:
        """All that comes until the proxy closes or cuts the connection."""
        received = b""
        try:
            while piece := await self.reader.read(65536):
                received += piece
        except ConnectionError:
            return received
        return received


@asynccontextmanager
async def connected(proxy: Proxy, limit: int = 2**16) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", URL(proxy.url).port, limit=limit)
    try:
        async with asyncio.timeout(10):
            yield Connection(proxy, reader, writer)
    finally:
        writer.transport.abort()


GET = b"GET /Patient HTTP/1.1\r\nHost: %h\r\n\r\n"

BEGUN = [b"", b"G", b"GET /Patient HTTP/1.1\r\nHost: %h\r\nAccept: "]


@pytest.mark.parametrize("begun", BEGUN, ids=["nothing", "a byte", "most of a head"])
async def test_connection_that_brings_no_head_is_cut(begun: bytes) -> None:
    async with before(answering(OK), head_timeout=SHORT) as proxy, connected(proxy) as tool:
        await tool.send(begun)

        assert await tool.rest() == b""


async def test_head_that_comes_byte_by_byte_is_cut() -> None:
    async with before(answering(OK), head_timeout=SHORT) as proxy, connected(proxy) as tool:
        end = asyncio.create_task(tool.rest())
        await tool.send(b"GET /Patient HTTP/1.1\r\nHost: %h\r\n")
        while not end.done():
            await asyncio.wait({end}, timeout=SHORT / 10)
            with suppress(ConnectionError):
                await tool.send(b"X: 1\r\n")

        assert await end == b""


@pytest.mark.parametrize("begun", BEGUN[1:], ids=["a byte", "most of a head"])
async def test_later_head_on_a_connection_is_cut_too(begun: bytes) -> None:
    async with before(answering(OK, OK), head_timeout=SHORT) as proxy, connected(proxy) as tool:
        await tool.send(GET)
        assert await tool.answer() == b"HTTP/1.1 200 OK"
        await tool.send(begun)

        assert await tool.rest() == b""


async def test_connection_stays_open_between_requests_and_while_an_answer_takes_long() -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await until.wait()
        await peer.send(OK)
        await peer.head()
        await peer.send(OK)

    until = asyncio.Event()
    async with (
        before(script, head_timeout=SHORT) as proxy,
        connected(proxy) as tool,
        connected(proxy) as other,
    ):
        await tool.send(GET)
        # The other connection's end shows that the limit has passed, once before and once after the answer.
        assert await other.rest() == b""
        until.set()
        assert await tool.answer() == b"HTTP/1.1 200 OK"
        async with connected(proxy) as another:
            assert await another.rest() == b""
        await tool.send(GET)

        assert await tool.answer() == b"HTTP/1.1 200 OK"


async def test_upload_that_stops_is_told_and_never_completed() -> None:
    received: list[bytes] = []

    async def script(peer: Peer) -> None:
        received.append(await peer.rest())

    async with before(script, upload_timeout=SHORT) as proxy:
        for size, sent in ((10, b"{"), (600_000, b"x" * 300_000)):
            async with connected(proxy) as tool:
                await tool.send(
                    b"POST /Binary HTTP/1.1\r\nHost: %%h\r\nContent-Type: application/pdf\r\n"
                    b"Content-Length: %d\r\n\r\n%b" % (size, sent)
                )
                answer = await tool.reader.readuntil(b"}]}")

            assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
            assert b"\r\nConnection: close\r\n" in answer
            assert b'"code": "timeout"' in answer

    assert all(len(sent) < 600_000 for sent in received)


async def test_tool_that_stops_reading_is_cut_and_the_server_let_go() -> None:
    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            while True:
                await peer.send(b"x" * 1_000_000)
        except ConnectionError:
            gone.set()

    async with before(script, send_timeout=SHORT) as proxy, connected(proxy, limit=1024) as tool:
        await tool.send(GET)
        await gone.wait()

        assert len(await tool.rest()) < 1_000_000_000


async def test_connection_beyond_the_limit_is_told_and_room_comes_back() -> None:
    async with before(answering(OK), max_connections=2) as proxy:
        async with connected(proxy) as first, connected(proxy):
            async with connected(proxy) as surplus:
                await surplus.send(GET)
                answer = await surplus.rest()
            await first.send(b"POST /x HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
            assert (await first.rest()).startswith(b"HTTP/1.1 421 ")
            async with connected(proxy) as tool:
                await tool.send(GET)
                assert await tool.answer() == b"HTTP/1.1 200 OK"

    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: 1\r\n" in answer
    assert b'"OperationOutcome"' in answer


def test_c_parser_is_there() -> None:
    require_c_parser()


def test_parser_in_python_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_parser, "HttpRequestParser", http_parser.HttpRequestParserPy)

    with pytest.raises(ConfigError, match="C extensions") as told:
        AiohttpServer()
    assert "--only-binary" in told.value.hint


def test_parser_in_python_is_refused_before_aiohttp_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_NO_EXTENSIONS", "1")

    with pytest.raises(ConfigError, match="C extensions"):
        require_c_parser()


def test_names_of_ours_hide_none_of_aiohttps() -> None:
    theirs = {name for base in web.RequestHandler.__mro__ for name in getattr(base, "__slots__", ())}

    assert theirs.isdisjoint(AiohttpParser.__slots__)
    assert {"answer"}.isdisjoint(dir(web.RequestHandler))


@pytest.mark.skipif(sys.platform == "win32", reason="there asyncio's own loop serves")
@pytest.mark.parametrize(
    "limited",
    [
        lambda: test_connection_that_brings_no_head_is_cut(b"G"),
        lambda: test_later_head_on_a_connection_is_cut_too(b"G"),
        test_connection_beyond_the_limit_is_told_and_room_comes_back,
    ],
    ids=["first head", "later head", "connections"],
)
def test_limits_hold_on_the_loop_that_serves(limited: Callable[[], Coroutine[None, None, None]]) -> None:
    """uvloop's transports are none of asyncio's classes."""
    with asyncio.Runner(loop_factory=importlib.import_module("uvloop").new_event_loop) as runner:
        runner.run(limited())
