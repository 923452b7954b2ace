"""The ground: a proxy that holds a token, a hostile server behind it that keeps all it gets, raw sockets to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from proxy.auth import Seams
from proxy.server import Proxy

from ..fakes.byte_server import ByteServer, Peer, byte_server
from ..running import proxy_before
from . import messages
from .messages import Answer, Request

TOKEN = "opaque.4f1d9c7ab0e35d.token"
"""The user's; it may be seen in one field of what the server gets, and nowhere else."""

PATIENT = "Zimmermann1951"
"""Patient data in targets, fields and bodies; it may be seen in no log and in no error's text."""

BASE = b"/fhir"
HEALTHY = BASE + b"/Patient/healthy"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Reply = bytes | Callable[[Peer], Awaitable[None]]


class HostileServer:
    """Reads requests strictly and keeps them; answers what it was told to, and healthy requests healthily."""

    def __init__(self, reply: Reply = OK) -> None:
        self.reply = reply
        self.requests: list[Request] = []
        self.bodies: list[bytes] = []
        """Those of complete requests."""
        self.torn = 0
        """Requests that broke off."""

    async def __call__(self, peer: Peer) -> None:
        while True:
            try:
                head = await peer.head()
            except asyncio.IncompleteReadError as error:
                if error.partial:
                    raise ValueError("a request whose head was cut") from None
                return
            request = messages.request(head)
            check(request)
            self.requests.append(request)
            try:
                self.bodies.append(await self._body(peer, request))
            except asyncio.IncompleteReadError:
                self.torn += 1
                return
            reply = OK if request.target == HEALTHY else self.reply
            if isinstance(reply, bytes):
                await peer.send(reply)
            else:
                await reply(peer)

    @property
    def lines(self) -> list[bytes]:
        """The request lines less their version, but for healthy requests."""
        return [request.line[:-9] for request in self.requests if request.target != HEALTHY]

    async def _body(self, peer: Peer, request: Request) -> bytes:
        if request.fields.length is not None:
            return await peer.exactly(request.fields.length)
        body = b""
        while size := int((await peer.reader.readuntil(b"\r\n"))[:-2], 16):
            body += (await peer.exactly(size + 2))[:-2]
        assert await peer.exactly(2) == b"\r\n", "trailers"
        return body


def check(request: Request) -> None:
    """What holds for each request that reaches the server, whatever a tool has sent."""
    path = request.target.partition(b"?")[0]
    assert path == BASE or path.startswith(BASE + b"/"), "a request beside the base"
    assert request.fields.all(b"authorization") == [b"Bearer " + TOKEN.encode()]
    assert len(request.fields.all(b"host")) == 1
    for name in (b"cookie", b"connection", b"upgrade", b"te", b"origin", b"referer", b"forwarded"):
        assert request.fields.all(name) == [], name
    assert all(b"_" not in name for name, _ in request.fields.lines)


@dataclass
class Ground:
    proxy: Proxy
    upstream: HostileServer
    fake: ByteServer
    port: int

    def filled(self, text: bytes) -> bytes:
        """%h is the proxy's host and port, %p its port, %u the server's host and port, %x patient data."""
        for mark, value in (
            (b"%h", b"127.0.0.1:%d" % self.port),
            (b"%p", b"%d" % self.port),
            (b"%u", b"127.0.0.1:%d" % self.fake.port),
            (b"%x", PATIENT.encode()),
        ):
            text = text.replace(mark, value)
        return text

    async def send(self, *pieces: bytes) -> bytes:
        """All that comes back on one connection until the proxy ends it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        received = b""
        try:
            async with asyncio.timeout(20):
                try:
                    for piece in pieces:
                        writer.write(self.filled(piece))
                        await writer.drain()
                    while data := await reader.read(65536):
                        received += data
                except ConnectionError:
                    pass  # refused in the middle: what came before it is what the tool got
        finally:
            writer.transport.abort()
        return received

    async def ask(self, *pieces: bytes) -> list[Answer]:
        """The answers to some bytes, which must be well-formed and without the token."""
        raw = await self.send(*pieces)
        assert TOKEN.encode() not in raw, "the token was told to a tool"
        return messages.answers(raw, *(piece.partition(b" ")[0] for piece in pieces[:1]))

    async def is_healthy(self) -> bool:
        """Whether a plain request is served, over a connection of its own."""
        before = len(self.upstream.requests)
        answers = await self.ask(get(b"/Patient/healthy"))
        return [(answer.status, answer.body, answer.is_whole) for answer in answers] == [
            (200, b"ok", True)
        ] and [request.target for request in self.upstream.requests[before:]] == [HEALTHY]


@asynccontextmanager
async def ground(reply: Reply = OK, seams: Seams | None = None, **settings: object) -> AsyncIterator[Ground]:
    """Both on 127.0.0.1; a request to the server that is not well-formed fails the test."""
    upstream = HostileServer(reply)
    async with (
        byte_server(upstream) as fake,
        proxy_before(
            f"http://127.0.0.1:{fake.port}{BASE.decode()}",
            seams,
            **{"auth": "token", "token": TOKEN, **settings},
        ) as proxy,
    ):
        yield Ground(proxy, upstream, fake, int(proxy.url.removesuffix("/fhir").rpartition(":")[2]))


def head(method: bytes, target: bytes, *lines: bytes, host: bytes = b"Host: %h") -> bytes:
    """A request's head that closes its connection; an empty `host` leaves the line out."""
    every = [method + b" " + target + b" HTTP/1.1", *([host] if host else []), b"Connection: close", *lines]
    return b"\r\n".join(every) + b"\r\n\r\n"


def get(target: bytes = b"/Patient?name=%x", *lines: bytes, host: bytes = b"Host: %h") -> bytes:
    return head(b"GET", target, *lines, host=host)


def post(*lines: bytes, body: bytes = b"%x", target: bytes = b"/Patient") -> bytes:
    return head(b"POST", target, *lines, b"Content-Length: 14") + body


SEARCH = b"GET /fhir/Patient?name=" + PATIENT.encode()
"""What the server gets of `get()`."""


async def assert_refused(request: bytes, *statuses: int, **settings: object) -> None:
    """Nothing reaches the server; the tool gets one OperationOutcome without patient data, or a closed connection."""
    async with ground(**settings) as here:
        answers = await here.ask(request)

        assert here.upstream.requests == []
        assert [answer.status for answer in answers] in [[status] for status in statuses]
        for answer in answers:
            assert_is_ours(answer, has_body=not request.startswith(b"HEAD"))
        assert await here.is_healthy()


def assert_is_ours(answer: Answer, *, has_body: bool = True) -> None:
    """An error of the proxy: an OperationOutcome, marked, closed to browsers, without patient data."""
    told = repr(answer).encode()
    assert (b"OperationOutcome" in answer.body) == has_body
    assert (answer.field("Proxy-Status") or "").startswith("fhir-auth-proxy; error=")
    assert PATIENT.encode() not in told
    assert_is_closed_to_browsers(answer)


def assert_is_closed_to_browsers(answer: Answer) -> None:
    """What every answer says to a browser (threat model B8, B9)."""
    assert answer.field("X-Content-Type-Options") == "nosniff"
    assert answer.field("Content-Security-Policy") == "default-src 'none'; sandbox; frame-ancestors 'none'"
    assert answer.field("Cross-Origin-Resource-Policy") == "same-origin"
    assert answer.field("Referrer-Policy") == "no-referrer"
    assert answer.field("Cache-Control") is not None
    assert not any(name.startswith(b"access-control-") for name, _ in answer.fields.lines)


async def assert_carried(request: bytes, *lines: bytes, status: int = 200, **settings: object) -> None:
    """The server gets exactly these requests, and the tool its answer."""
    async with ground(**settings) as here:
        answers = await here.ask(request)

        assert here.upstream.lines == [here.filled(line) for line in lines]
        assert [answer.status for answer in answers] == [status] * len(lines)
        for answer in answers:
            assert answer.field("Proxy-Status") is None
            assert_is_closed_to_browsers(answer)
        assert await here.is_healthy()
