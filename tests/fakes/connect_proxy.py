"""A corporate proxy that opens tunnels to one name, and leads them to a port of this machine."""

from __future__ import annotations

import asyncio

from .byte_server import Peer, Script


def tunnelling(authority: str, port: int) -> Script:
    """A script that takes `CONNECT authority` alone, and carries bytes both ways."""

    async def script(peer: Peer) -> None:
        assert (await peer.head()).startswith(f"CONNECT {authority} ".encode())
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        back = asyncio.create_task(carried(reader, peer.writer))
        try:
            await carried(peer.reader, writer)
        finally:
            writer.transport.abort()
            back.cancel()
            await asyncio.wait({back})

    return script


async def carried(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Carry until the source ends."""
    try:
        while piece := await source.read(65536):
            sink.write(piece)
            await sink.drain()
    except ConnectionError:
        return
    finally:
        sink.close()
