"""A TCP link with faults between a proxy and its server: it passes bytes on until a fault's offset, then acts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum


class Act(Enum):
    """What happens once so many bytes have passed."""

    DELAY = "hold until released, then go on"
    RESET = "RST to both sides"
    CUT = "FIN to the side that receives, and nothing more"
    HALF_CLOSE = "FIN to the side that receives; the other direction goes on"
    BLACKHOLE = "swallow everything from here on, and say nothing"
    TRICKLE = "one byte at a time from here on"


class Way(Enum):
    """A direction of the link."""

    UP = "towards the server"
    DOWN = "towards the proxy"


@dataclass(frozen=True, slots=True)
class Fault:
    """One act in one direction, `offset` bytes after a connection began."""

    act: Act
    way: Way = Way.DOWN
    offset: int = 0


class FaultLink:
    """Where it listens; `fault` is met by the connections that come from now on."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self.fault: Fault | None = None
        self.open = 0
        self.accepted = 0
        self.sent_up = bytearray()
        """Every byte that went towards the server."""
        self.reached = asyncio.Event()
        """Set when a fault's offset was reached."""
        self._released = asyncio.Event()
        self._target = port
        self._changed = asyncio.Condition()
        self._running: set[asyncio.Task[None]] = set()

    def release(self) -> None:
        """Let what is held or swallowed go on or end."""
        self._released.set()

    async def until_closed(self) -> None:
        """Wait until no connection is open any more."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self.open)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        self.open += 1
        self.accepted += 1
        fault = self.fault
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        up = asyncio.ensure_future(self._carry(reader, far_writer, fault, Way.UP))
        down = asyncio.ensure_future(self._carry(far_reader, writer, fault, Way.DOWN))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_EXCEPTION)
        except asyncio.CancelledError:
            return  # the test is over
        finally:
            for way in (up, down):
                way.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            writer.transport.abort()
            far_writer.transport.abort()
            self._running.discard(task)
            async with self._changed:
                self.open -= 1
                self._changed.notify_all()

    async def stop(self) -> None:
        """End what is carried."""
        for task in tuple(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault | None, way: Way
    ) -> None:
        remaining = fault.offset if fault is not None and fault.way is way else None
        trickles = False
        while True:
            if remaining == 0 and fault is not None:
                self.reached.set()
                remaining = None
                if fault.act is Act.DELAY:
                    await self._released.wait()
                elif fault.act is Act.TRICKLE:
                    trickles = True
                elif fault.act is Act.RESET:
                    raise ConnectionResetError
                elif fault.act is Act.BLACKHOLE:
                    while await reader.read(65536):
                        pass
                    await self._released.wait()
                    raise ConnectionResetError
                else:
                    writer.write_eof()
                    if fault.act is Act.CUT:
                        await reader.read()
                        raise ConnectionResetError
                    return
            data = await reader.read(1 if trickles else 65536 if remaining is None else min(65536, remaining))
            if not data:
                writer.write_eof()
                return
            if remaining is not None:
                remaining -= len(data)
            if way is Way.UP:
                self.sent_up += data
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def fault_link(port: int) -> AsyncIterator[FaultLink]:
    """A link on 127.0.0.1 to a server on that port."""
    link = FaultLink(port)
    listener = await asyncio.start_server(link.serve, "127.0.0.1", 0)
    link.port = listener.sockets[0].getsockname()[1]
    try:
        yield link
    finally:
        listener.close()
        await link.stop()
