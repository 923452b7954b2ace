"""Bodies of hundreds of megabytes, rewritten on their way through the proxy on real sockets: memory stays flat."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest
from aiohttp import ClientSession

from .fakes.byte_server import Peer, byte_server
from .running import proxy_before

MEGABYTE = 1024 * 1024
MOST = 16 * MEGABYTE
"""What the proxy, the server, the tool and all buffers between them may hold together, whatever the body's size."""


@dataclass(frozen=True)
class Body:
    """A document of one record again and again, which refers to BASE."""

    media_type: str
    begin: bytes
    record: bytes
    end: bytes
    megabytes: int

    def pieces(self, at: str) -> Iterator[bytes]:
        record = self.record.replace(b"BASE", at.encode())
        block = record * (MEGABYTE // len(record))
        yield self.begin
        for _ in range(self.megabytes):
            yield block
        yield self.end

    def digest(self, at: str) -> str:
        digest = hashlib.sha256()
        for piece in self.pieces(at):
            digest.update(piece)
        return digest.hexdigest()


OBSERVATION = (
    b'{"resourceType":"Observation","id":"1","subject":{"reference":"BASE/Patient/1"},"note":[{"text":"%b"}]}'
    % (b"a note, " * 250)
)
NDJSON = Body("application/fhir+ndjson", b"", OBSERVATION + b"\n", b"", 200)
BUNDLE = Body(
    "application/fhir+json",
    b'{"resourceType":"Bundle","type":"collection","entry":[',
    b'{"fullUrl":"BASE/Observation/1","resource":%b},' % OBSERVATION,
    b"{}]}",
    100,
)


class Received:
    """What has come of a body, of which nothing is kept."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    async def take(self, peer: Peer, size: int) -> None:
        while size:
            piece = await peer.reader.read(min(size, MEGABYTE))
            assert piece
            self.digest.update(piece)
            size -= len(piece)


@contextmanager
def most_memory() -> Iterator[list[int]]:
    """At its end, the most bytes that were held at once by what ran inside."""
    peak: list[int] = []
    tracemalloc.start()
    try:
        yield peak
        peak.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("body", [NDJSON, BUNDLE], ids=["lines", "one line"])
async def test_answer_of_any_size(body: Body) -> None:
    async def script(peer: Peer) -> None:
        port = peer.writer.get_extra_info("sockname")[1]
        await peer.head()
        await peer.send(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: %b\r\n\r\n" % body.media_type.encode()
        )
        for piece in body.pieces(f"http://127.0.0.1:{port}"):
            await peer.send(piece)
        peer.close()

    received = hashlib.sha256()
    async with (
        byte_server(script) as server,
        proxy_before(f"http://127.0.0.1:{server.port}") as proxy,
        ClientSession() as tool,
    ):
        with most_memory() as peak:
            async with tool.get(f"{proxy.url}/_files/1") as response:
                async for chunk in response.content.iter_any():
                    received.update(chunk)
        url = proxy.url

    assert received.hexdigest() == body.digest(url)
    assert peak[0] < MOST


MEGABYTES = int(os.environ.get("FHIR_UPLOAD_MEGABYTES", "0"))
"""For a run by hand: 3072 take ten seconds as they are, and two minutes where all is rewritten while memory is traced."""

FILE = Body("application/pdf", b"%PDF-1.4", bytes(range(256)) * 8, b"%%EOF", MEGABYTES or 1024)
UPLOADS = {
    "rewritten": (replace(BUNDLE, megabytes=MEGABYTES or 100), False),
    "as it is": (replace(FILE, megabytes=MEGABYTES or 100), False),
    "as it is, with a length": (FILE, True),
}
"""Bodies, and whether the tool says how long they are."""


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("body", "has_length"), UPLOADS.values(), ids=UPLOADS)
async def test_upload_of_any_size(body: Body, has_length: bool) -> None:
    received = Received()

    async def script(peer: Peer) -> None:
        fields = dict(line.lower().split(b": ", 1) for line in (await peer.head()).split(b"\r\n")[1:] if line)
        if b"content-length" in fields:
            await received.take(peer, int(fields[b"content-length"]))
        else:
            while size := int((await peer.reader.readuntil(b"\r\n")).strip(), 16):
                await received.take(peer, size)
                await peer.exactly(2)
            await peer.exactly(2)
        await peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with (
        byte_server(script) as server,
        proxy_before(f"http://127.0.0.1:{server.port}") as proxy,
        ClientSession() as tool,
    ):
        url = proxy.url

        async def pieces() -> AsyncIterator[bytes]:
            for piece in body.pieces(url):
                yield piece

        fields = {"Content-Type": body.media_type}
        if has_length:
            fields["Content-Length"] = str(sum(map(len, body.pieces(url))))
        with most_memory() as peak:
            async with tool.post(f"{url}/Binary", data=pieces(), headers=fields) as response:
                assert response.status == 204

    assert received.digest.hexdigest() == body.digest(f"http://127.0.0.1:{server.port}")
    assert peak[0] < MOST
