from __future__ import annotations

import asyncio
import socket

import pytest

from proxy.errors import UpstreamTimeout, UpstreamUnreachable
from proxy.model import BaseUrl
from proxy.upstream import Timeouts, Tunnel, Upstream, tls_context

from .conftest import request


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_refused_connection_is_explained(host: str) -> None:
    upstream = Upstream(BaseUrl("http", host, free_port()), tls=None)

    with pytest.raises(UpstreamUnreachable, match=rf"^No connection to {host}:\d+: ") as caught:
        await upstream.send(request("GET", b"/Patient?name=secret"))
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64 + ".invalid"])
async def test_unknown_name_is_explained(host: str) -> None:
    upstream = Upstream(BaseUrl("http", host, 80), tls=None)

    with pytest.raises(UpstreamUnreachable, match=rf"^The name of {host} is not known"):
        await upstream.send(request())


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_server_that_does_not_take_the_connection_is_given_up(scheme: str) -> None:
    """A listener whose queue is full drops connections; over TLS it is enough that nobody shakes hands."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4 if scheme == "http" else 0)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        tls = tls_context() if scheme == "https" else None
        upstream = Upstream(BaseUrl(scheme, "127.0.0.1", port), tls=tls, timeouts=Timeouts(connect=0.1))
        with pytest.raises(UpstreamTimeout, match=r"within 0\.1 s"):
            await upstream.send(request())
        for filler in fillers:
            filler.close()


async def test_cancelled_dial_leaves_nothing_behind() -> None:
    writers: list[asyncio.StreamWriter] = []
    accepted: asyncio.Queue[asyncio.StreamReader] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.put_nowait(reader)
        writers.append(writer)

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with listener:
        base = BaseUrl("https", "127.0.0.1", listener.sockets[0].getsockname()[1])
        upstream = Upstream(base, tls=tls_context())
        sending = asyncio.create_task(upstream.send(request()))
        reader = await accepted.get()
        sending.cancel()
        await asyncio.wait({sending})
        hello = await reader.read()
        writers[0].close()

    assert hello.startswith(b"\x16\x03")
    assert (upstream._pool._dialing, upstream._pool._open) == (0, set())


@pytest.mark.parametrize(("scheme", "with_tls", "tunnel"), [
    ("https", False, None),
    ("http", True, None),
    ("http", False, Tunnel("proxy.example", 3128)),
])  # fmt: skip
async def test_origin_and_protection_belong_together(
    scheme: str, with_tls: bool, tunnel: Tunnel | None
) -> None:
    tls = tls_context() if with_tls else None

    with pytest.raises(ValueError, match="TLS"):
        Upstream(BaseUrl(scheme, "fhir.example", 443), tls=tls, tunnel=tunnel)
