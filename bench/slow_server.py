"""A server that thinks before each answer: `python slow_server.py PORT SECONDS`."""

from __future__ import annotations

import asyncio
import sys

BODY = b'{"resourceType":"Patient","id":"1","active":true,"gender":"male","birthDate":"1974-12-25"}'
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nContent-Length: %d\r\n\r\n" % len(BODY)
) + BODY


class Thinking(asyncio.Protocol):
    """Answers every head that comes, each after the same time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note of where answers go."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  (it is TCP)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer later, for each head that is complete."""
        self._received += data
        while b"\r\n\r\n" in self._received:
            self._received = self._received.partition(b"\r\n\r\n")[2]
            asyncio.get_running_loop().call_later(self._seconds, self._transport.write, ANSWER)


async def main() -> None:
    """Serve until the process is ended."""
    port, seconds = int(sys.argv[1]), float(sys.argv[2])
    server = await asyncio.get_running_loop().create_server(
        lambda: Thinking(seconds), "127.0.0.1", port, backlog=4096
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
