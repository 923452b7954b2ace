"""Arbitrary bytes from a tool, and from a server: what must hold for all of them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from ..fakes.byte_server import Peer
from . import messages
from .ground import BASE, HEALTHY, OK, TOKEN, Ground, get, ground

SEEDS = [
    b"GET /Patient?name=x HTTP/1.1\r\nHost: %h\r\n\r\n",
    b"POST /Patient HTTP/1.1\r\nHost: %h\r\nContent-Type: application/fhir+json\r\nContent-Length: 2\r\n\r\n{}",
    b"PUT /fhir/Patient/1 HTTP/1.1\r\nHost: %h\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\n{}\r\n0\r\nX: y\r\n\r\n",
    b"DELETE /Patient/1 HTTP/1.0\r\nHost: %h\r\nConnection: Authorization, keep-alive\r\nCookie: a=b\r\n\r\n",
]

ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nLink: <http://%u/fhir/x>\r\n\r\n2;x=y\r\nok\r\n0\r\nX: y\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 404 No\r\nConnection: keep-alive, X\r\nX: y\r\n\r\nrest",
    b'HTTP/1.1 302 Go\r\nLocation: /x\r\nETag: "1"\r\nContent-Length: 0\r\n\r\n',
]


class Fuzzing:
    """One proxy before one hostile server for all attempts, in an event loop of its own."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._ground: Ground = self._runner.run(self._stack.enter_async_context(ground()))

    def close(self) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()

    def from_tool(self, data: bytes) -> None:
        """Send bytes as a tool; AssertionError where the proxy did what it never may."""
        self._runner.run(self._from_tool(data))

    def from_server(self, data: bytes) -> None:
        """Answer a plain request with bytes; AssertionError where the tool got what it never may."""
        self._runner.run(self._from_server(data))

    async def _from_tool(self, data: bytes) -> None:
        here = self._ground
        here.upstream.reply = OK
        here.upstream.requests.clear()
        here.upstream.bodies.clear()
        data = here.filled(data)
        reader, writer = await asyncio.open_connection("127.0.0.1", here.port)
        try:
            writer.write(data)
            # One loop runs all of this: once a later request is answered, these bytes have been read.
            assert [answer.status for answer in await here.ask(get(b"/Patient/healthy"))] == [200]
            if writer.can_write_eof() and not writer.transport.is_closing():
                writer.write_eof()
            async with asyncio.timeout(20):
                raw = await reader.read()
        except ConnectionError:
            raw = b""  # closed in the middle of the bytes
        finally:
            writer.transport.abort()

        assert not here.fake._failures, "the server got a request that is not well-formed"
        assert TOKEN.encode() not in raw
        if b"HEAD" not in data:
            for answer in messages.answers(raw):
                assert answer.status in {200, 400, 403, 405, 413, 414, 415, 421, 431}
        for request in here.upstream.requests:
            if request.target != HEALTHY:
                assert request.method in data
                path, _, query = request.target.partition(b"?")
                assert path.removeprefix(BASE) in data, "a path that nobody sent"
                # The proxy's own address in a query goes up as the server's.
                assert query in data or here.filled(b"%h") in data, "a query that nobody sent"

    async def _from_server(self, data: bytes) -> None:
        here = self._ground

        async def script(peer: Peer) -> None:
            await peer.send(data)
            peer.close()

        here.upstream.reply = script
        answers = await here.ask(b"GET /Patient HTTP/1.1\r\nHost: %h\r\nConnection: close\r\n\r\n")
        assert len(answers) <= 1
        assert all(200 <= answer.status < 600 for answer in answers)
        assert await here.is_healthy()
