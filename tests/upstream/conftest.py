from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trustme

from proxy.model import BaseUrl, Fields, RequestHead
from proxy.upstream import Answer, Timeouts, Upstream, chunks

OK = b"HTTP/1.1 200 OK\r\n"


def request(method: str = "GET", target: bytes = b"/Patient", *lines: tuple[bytes, bytes]) -> RequestHead:
    return RequestHead(method, target, Fields(((b"Host", b"fhir.example"), *lines)))


def sized(body: bytes) -> bytes:
    """A response with that body."""
    return OK + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


async def whole(answer: Answer) -> bytes:
    return b"".join([chunk async for chunk in chunks(answer)])


async def pieces(*items: bytes) -> AsyncIterator[bytes]:
    for item in items:
        yield item


Connect = Callable[..., Upstream]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Makes an Upstream to a local port, closed after the test."""
    made: list[Upstream] = []

    def make(port: int, *, timeouts: Timeouts | None = None, max_connections: int = 8) -> Upstream:
        base = BaseUrl("http", "127.0.0.1", port)
        made.append(Upstream(base, tls=None, timeouts=timeouts, max_connections=max_connections))
        return made[-1]

    yield make
    for upstream in made:
        await upstream.close()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def bundle(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("trust") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def server_side(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """TLS of a server whose certificate has these names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    authority.issue_cert(*names).configure_cert(context)
    return context
