"""A TCP server that speaks exact bytes: a script decides, connection by connection, what is read and sent."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager


class Peer:
    """One connection as the server's script sees it."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer

    async def head(self) -> bytes:
        """The next request's head."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def exactly(self, size: int) -> bytes:
        return await self.reader.readexactly(size)

    async def rest(self) -> bytes:
        """All that comes until the connection ends, be it by FIN or by RST."""
        received = b""
        try:
            while piece := await self.reader.read(65536):
                received += piece
        except ConnectionError:
            return received
        return received

    async def send(self, *pieces: bytes) -> None:
        """Send each piece by itself."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


class ByteServer:
    """Where it listens, and what has happened there."""

    def __init__(self, script: Script) -> None:
        self.port = 0
        self.accepted = 0
        self.open = 0
        self._script = script
        self._changed = asyncio.Condition()
        self._running: set[asyncio.Task[None]] = set()
        self._failures: list[BaseException] = []

    async def until_closed(self) -> None:
        """Wait until no connection is open any more."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self.open)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        self.accepted += 1
        self.open += 1
        peer = Peer(self.accepted, reader, writer)
        try:
            await self._script(peer)
            await peer.rest()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other side left, or the test is over
        except BaseException as error:  # noqa: BLE001  (told when the server stops)
            self._failures.append(error)
        finally:
            self._running.discard(task)
            writer.transport.abort()
            async with self._changed:
                self.open -= 1
                self._changed.notify_all()

    async def stop(self) -> None:
        for task in tuple(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)
        if self._failures:
            raise self._failures[0]


@asynccontextmanager
async def byte_server(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[ByteServer]:
    """A server on 127.0.0.1; a failure of its script is a failure of the test."""
    fake = ByteServer(script)
    listener = await asyncio.start_server(fake.serve, "127.0.0.1", 0, ssl=tls)
    fake.port = listener.sockets[0].getsockname()[1]
    try:
        yield fake
    finally:
        listener.close()
        await fake.stop()


def answering(*responses: bytes) -> Script:
    """A script that answers the requests of each connection, which have no body, one by one."""

    async def script(peer: Peer) -> None:
        for response in responses:
            await peer.head()
            await peer.send(response)

    return script
