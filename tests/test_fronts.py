"""The fast front and aiohttp's give a tool the same answer, and the server the same request, whatever was sent."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from yarl import URL

from proxy.client_aiohttp import AiohttpParser
from proxy.client_limits import ClientLimits
from proxy.client_requests import plain_request
from proxy.server import Proxy

from .fakes.byte_server import Peer, byte_server
from .running import proxy_before

BODY = b'{"resourceType":"Patient"}'
_CHANGING = re.compile(
    rb"(?<=\r\nX-Request-Id: )[0-9a-f-]{32,36}(?=\r\n)|(?<=\r\nDate: )[^\r]*|(?<=127.0.0.1:)\d+"
)


@dataclass
class Server:
    """Keeps each request whole and tells its size in the answer."""

    received: list[bytes] = field(default_factory=list)

    async def __call__(self, peer: Peer) -> None:
        while True:
            try:
                head = await peer.head()
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
            body = await peer.exactly(int(length[1])) if length else b""
            if b"\r\nTransfer-Encoding: chunked\r\n" in head:
                body = await peer.reader.readuntil(b"0\r\n\r\n")
            self.received.append(_CHANGING.sub(b"", head) + body)
            told = b"%d" % len(head)
            answer = b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\nETag: W/"1"\r\n\r\n' % len(told)
            await peer.send(answer if head.startswith(b"HEAD") else answer + told)


class Fronts:
    """One proxy by each front, before servers of their own, in an event loop of its own."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._servers: dict[str, Server] = {}
        self._proxies: dict[str, Proxy] = {}
        self._runner.run(self._start())

    async def _start(self) -> None:
        for front in ("fast", "aiohttp"):
            self._servers[front] = Server()
            fake = await self._stack.enter_async_context(byte_server(self._servers[front]))
            proxy = proxy_before(f"http://127.0.0.1:{fake.port}/fhir", front=front, upload_timeout=0.1)
            self._proxies[front] = await self._stack.enter_async_context(proxy)

    def close(self) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()

    def outcomes(self, pieces: Sequence[bytes]) -> list[tuple[bytes, list[bytes]]]:
        """What the tool and the server got by each front."""
        return [self._runner.run(self._outcome(front, pieces)) for front in self._proxies]

    async def _outcome(self, front: str, pieces: Sequence[bytes]) -> tuple[bytes, list[bytes]]:
        server, port = self._servers[front], URL(self._proxies[front].url).port
        server.received.clear()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        received = b""
        try:
            async with asyncio.timeout(20):
                for piece in pieces:
                    writer.write(piece.replace(b"%h", b"127.0.0.1:%d" % port))
                    # One loop runs all of this: once another connection is served, the piece has been read.
                    await self._other(port)
                while data := await reader.read(65536):
                    received += data
        except ConnectionError:
            pass  # closed in the middle of what was sent
        finally:
            writer.transport.abort()
        return _CHANGING.sub(b"", received), [one for one in server.received if b"/other" not in one]

    async def _other(self, port: int | None) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /other HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n" % (port or 0))
        assert await reader.read()
        writer.close()


@pytest.fixture(scope="module")
def fronts() -> Iterator[Fronts]:
    both = Fronts()
    yield both
    both.close()


LAST = b"GET /Patient/last HTTP/1.1\r\nHost: %h\r\nConnection: close\r\n\r\n"
"""Ends the connection of a tool whose other requests were well-formed."""

_OFTEN = 8
METHODS = st.sampled_from(
    ["GET"] * _OFTEN + ["HEAD", "POST", "PUT", "PATCH", "DELETE", "get", "OPTIONS", "TRACE", "G T"]
)
TARGETS = st.one_of(
    st.sampled_from(
        [
            "/Patient/1",
            "/fhir/Patient?name=a%20b",
            "/Patient?x=http://%h/fhir/Patient/1",
            "/",
            "/%2e%2e/x",
            "//x",
            "*",
            "/a#b",
            "/é",
            "http://%h/Patient",
            "/Patient/1 HTTP/1.1",
            "/a\tb",
            "/a|b",
            "/a<b>",
            '/a"b',
            "/a\\b",
            "/a;b",
        ]
    ),
    st.text(alphabet="/Pa.%2e;?#:'\"\\|{}^~!", max_size=12).map("/".__add__),
)
VERSIONS = st.sampled_from(["HTTP/1.1"] * _OFTEN * 2 + ["HTTP/1.0", "HTTP/2.0", "HTTP/0.9", "http/1.1", ""])
LINES = st.one_of(
    st.sampled_from(
        ["Accept: application/fhir+json", "Accept:  x ", "accept:", "Prefer: return=minimal", "X-Request-Id: a1",
         "Connection: close", "Connection: keep-alive", "Connection: Keep-Alive", "Connection: Accept, close",
         "Connection: upgrade", "Upgrade: websocket", "Upgrade: h2c", "Expect: 100-continue", "TE: trailers",
         "Transfer-Encoding: chunked", "Content-Length: 0", "Content-Length: 26", "Content-Length: 5",
         "Content-Length: +5", "Content-Length: 26, 26", "Host: %h", "Host: evil.example", "Origin: null",
         "Cookie: a=b", "X_Y: 1", "X Y: 1", " folded", "X: a\x00b", "X: a\x7fb", "X: caf\xe9", "X: a\rb", "X", ": x",
         "X:", "Sec-Fetch-Site: cross-site", "Content-Type: application/fhir+json", "Content-Encoding: gzip",
         "Authorization: Bearer x", "X-Fhir-Auth-Proxy-Rewrite: off", "X-Fhir-Auth-Proxy-Rewrite: on", "Range: bytes=0-1",
         "X: " + "y" * 20_000, "X: " + "y" * 40_000]
    ),
    st.text(alphabet=st.characters(max_codepoint=255), max_size=12).map("X-Any: ".__add__),
)  # fmt: skip
ENDS = st.sampled_from(["\r\n"] * _OFTEN * 4 + ["\n", "\r", "\r\n\r\n"])


@st.composite
def one_request(draw: st.DrawFn) -> bytes:
    """A request, or something like one."""
    head = f"{draw(METHODS)} {draw(TARGETS)} {draw(VERSIONS)}" + draw(ENDS)
    lines = ["Host: %h", *draw(st.lists(LINES, max_size=4))]
    body = draw(
        st.sampled_from(
            ["", "", BODY.decode(), BODY.decode()[:-1], "1a\r\n" + BODY.decode() + "\r\n0\r\n\r\n"]
        )
    )
    if draw(st.booleans()) and len(body) == len(BODY):
        lines.append(f"Content-Length: {len(body)}")
    return (head + "".join(line + draw(ENDS) for line in lines) + draw(ENDS) + body).encode("latin-1")


@st.composite
def cut(draw: st.DrawFn) -> list[bytes]:
    """One to three requests and a last one, cut anywhere."""
    whole = b"".join(draw(st.lists(one_request(), min_size=1, max_size=3))) + LAST
    together = draw(st.booleans())
    points = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=3)))
    if together:
        points = [len(whole) - len(LAST)]
    return [
        piece
        for start, end in zip([0, *points], [*points, len(whole)], strict=True)
        if (piece := whole[start:end])
    ]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=cut())
@example(pieces=[b"GET /Patient/1 HTTP/1.1\r\nHost: %h\r\nAccept: x\r\n\r\n", LAST])
@example(pieces=[b"GET /Patient/1 HTTP/1.1\r\nHost: %h\r\n\r\n" * 3 + LAST])
@example(
    pieces=[
        b"GET /Patient/1 HTTP/1.1\r\nHost: %%h\r\nOrigin: null\r\nContent-Length: %d\r\n\r\n%b"
        % (len(BODY), BODY),
        LAST,
    ]
)
@example(
    pieces=[b"PUT /Patient/1 HTTP/1.1\r\nHost: %%h\r\nContent-Length: %d\r\n\r\n" % len(BODY), BODY, LAST]
)
@example(pieces=[b"PUT /Patient/1 HTTP/1.1\r\nHost: %%h\r\nContent-Length: %d\r\n\r\n" % len(BODY), BODY[:9]])
@example(pieces=[b"PUT /../1 HTTP/1.1\r\nHost: %%h\r\nContent-Length: %d\r\n\r\n" % len(BODY), BODY, LAST])
@example(
    pieces=[
        b"GET /Patient/1 HTTP/1.1\r\nHost: %h\r\n\r\n",
        b"GET /Patient/2 HTTP/1.1\r\nHo",
        b"st: %h\r\n\r\n" + LAST,
    ]
)
def test_both_fronts_say_and_send_the_same(fronts: Fronts, pieces: list[bytes]) -> None:
    fast, slow = fronts.outcomes(pieces)

    assert slow == fast


HOST = b"Host: localhost\r\n"

PLAIN = [
    b"GET / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"HEAD /Patient?name=a|b HTTP/1.1\r\n" + HOST + b"Connection: Keep-Alive\r\n\r\n",
    b"DELETE /Patient/1 HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
    b"PUT /Patient/1 HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\n{}",
    b"PUT /Patient/1 HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\n{",
    b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 262144\r\n\r\n",
]
NOT_PLAIN = [
    b"",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST,
    b"GET / HTTP/1.0\r\n" + HOST + b"\r\n",
    b"OPTIONS / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET http://localhost/ HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /\xe9 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.1\n" + HOST + b"\r\n",
    b"\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"".join(b"X-%d: y\r\n" % number for number in range(100)) + b"\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"X: a\n b\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"X: caf\xe9\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"X: a\0\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"Upgrade: h2c\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"Connection: upgrade\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"X: %b\r\n\r\n" % (b"y" * 16384),
    b"GET / HTTP/1.1\r\n" + HOST + b"\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\n{}G",
    b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 262145\r\n\r\n",
    b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: +2\r\n\r\n{}",
    b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"PUT / HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
]


class Nowhere:
    writing_paused = False

    def write(self, data: bytes) -> None:
        raise AssertionError("nothing is to be written")

    async def drained(self) -> None:
        raise AssertionError("nothing is to be written")

    def abort(self) -> None:
        raise AssertionError("nothing is to be cut")


@pytest.mark.parametrize(
    ("data", "expected"), [*((one, True) for one in PLAIN), *((one, False) for one in NOT_PLAIN)]
)
def test_what_is_provably_plain_is_not_left_to_aiohttp(data: bytes, expected: bool) -> None:
    for _ in range(2):  # as it is read, and as it is remembered
        assert expected == (plain_request(data, Nowhere(), ClientLimits()) is not None)


@pytest.mark.parametrize(("front", "expected"), [("fast", 1), ("aiohttp", 2)])
async def test_fast_front_is_used_and_can_be_switched_off(
    front: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[object] = []
    answer = AiohttpParser.answer

    async def counted(self: AiohttpParser, request: web.BaseRequest) -> web.StreamResponse:
        parsed.append(request)
        return await answer(self, request)

    monkeypatch.setattr(AiohttpParser, "answer", counted)
    async with (
        byte_server(Server()) as fake,
        proxy_before(f"http://127.0.0.1:{fake.port}", front=front) as proxy,
    ):
        authority = URL(proxy.url).authority.encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", URL(proxy.url).port)
        writer.write(b"GET /Patient/1 HTTP/1.1\r\nHost: %b\r\n\r\n" % authority)
        await reader.readuntil(b'"1"\r\n')
        writer.write(b"GET /Patient/1 HTTP/1.1\r\nHost: %b\r\nAccept: a\r\nAccept: b\r\n\r\n" % authority)
        await reader.readuntil(b'"1"\r\n')
        writer.close()

    assert expected == len(parsed)
