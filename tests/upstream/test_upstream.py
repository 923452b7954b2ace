"""The whole leg on each event loop that there is, and under many requests at once."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
from collections.abc import AsyncIterator, Callable

import pytest
import trustme

from proxy.model import BaseUrl
from proxy.upstream import Upstream, small_body, tls_context
from tests.fakes.byte_server import Peer, byte_server

from .conftest import OK, Connect, request, server_side, sized, whole

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop]
if importlib.util.find_spec("uvloop") is not None:
    import uvloop

    LOOPS.append(uvloop.new_event_loop)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("new_loop", LOOPS)
def test_both_directions_on_each_loop(
    new_loop: Callable[[], asyncio.AbstractEventLoop], scheme: str, authority: trustme.CA, bundle: str
) -> None:
    block = bytes(range(256)) * 256

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(sized(b"abc"))
        await peer.head()
        received = await peer.exactly(64 * len(block))
        await peer.send(sized(hashlib.sha256(received).hexdigest().encode()))
        await peer.head()
        await peer.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(64):
            await peer.send(b"%x\r\n" % len(block), block, b"\r\n")
        await peer.send(b"0\r\n\r\n")
        await peer.head()
        await peer.send(OK + b"\r\nend")
        peer.close()

    async def body() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield block

    async def exchange() -> tuple[list[bytes], int]:
        tls = server_side(authority, "127.0.0.1") if scheme == "https" else None
        async with byte_server(script, tls) as server:
            base = BaseUrl(scheme, "127.0.0.1", server.port)
            upstream = Upstream(base, tls=tls_context(bundle) if tls is not None else None)
            put = request("PUT", b"/", (b"Content-Length", b"%d" % (64 * len(block))))
            small = await small_body(await upstream.send(request()), 10)
            digest = await whole(await upstream.send(put, body()))
            large = await whole(await upstream.send(request()))
            last = await whole(await upstream.send(request()))
            await upstream.close()
            await server.until_closed()
            return [small or b"", digest, hashlib.sha256(large).hexdigest().encode(), last], server.accepted

    with asyncio.Runner(loop_factory=new_loop) as runner:
        result = runner.run(exchange())

    digest = hashlib.sha256(block * 64).hexdigest().encode()
    assert result == ([b"abc", digest, digest, b"end"], 1)


async def test_many_at_once_each_get_their_own_answer(connect: Connect) -> None:
    async def script(peer: Peer) -> None:
        while True:
            target = (await peer.head()).split()[1]
            if target.endswith(b"7"):
                await peer.send(OK + b"Connection: close\r\n\r\n" + target)
                peer.close()
                return
            await peer.send(
                OK + b"Transfer-Encoding: chunked\r\n\r\n", b"%x\r\n%b\r\n" % (len(target), target)
            )
            await peer.send(b"0\r\n\r\n")

    async with byte_server(script) as server:
        upstream = connect(server.port)

        async def ask(target: bytes) -> bytes | None:
            answer = await upstream.send(request("GET", target))
            if target.endswith(b"3"):
                answer.close()
                return None
            return await whole(answer)

        targets = [b"/Patient/%d" % n for n in range(300)]
        bodies = await asyncio.gather(*[ask(target) for target in targets])
        await upstream.close()
        await server.until_closed()

    assert bodies == [None if target.endswith(b"3") else target for target in targets]
    assert (upstream._pool._dialing, upstream._pool._open, upstream._pool.idle._kept) == (0, set(), [])
