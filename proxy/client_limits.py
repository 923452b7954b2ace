"""What one tool may cost: how long its connection is waited for, and how many connections there may be."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import cast

from aiohttp import http_parser

from .errors import ConfigError, ProxyError, ProxyUnavailable
from .rules.outcome import outcome

KEEPALIVE_SECONDS = 75.0
"""How long an idle connection of a tool stays open: nginx's default; aiohttp's own is an hour."""

FAREWELL_SECONDS = 2.0
"""How long a connection that was refused stays, so that its tool can read why before it is reset."""


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Seconds of silence from a tool that end its exchange, and connections at a time."""

    head: float = 15.0
    """From a connection's start, or the first byte of a later request, until a request's head is complete."""
    upload: float = 30.0
    """Between two pieces of a request's body."""
    send: float = 300.0
    """Until a tool that does not read takes more of its answer; a person may think between two pages."""
    connections: int = 1024


class HeadTimer:
    """Cuts a connection that brings no whole head in time (slowloris); aiohttp has no such limit.

    It runs from the start of the connection until an exchange begins, again from the first byte of every
    later request, and between exchanges as a net below aiohttp's own limit of an idle connection, which
    waits for a tool that does not read.
    """

    __slots__ = ("_handle", "_head_begun", "_is_exchanging", "_limits", "_transport")

    def __init__(self, transport: asyncio.BaseTransport, limits: ClientLimits) -> None:
        self._transport = transport
        self._limits = limits
        self._head_begun = True
        self._is_exchanging = False
        self._handle = self._start(limits.head)

    def received(self, data: bytes) -> None:
        """Bytes have come; between exchanges they are the start of a head."""
        if data and not (self._is_exchanging or self._head_begun):
            self._head_begun = True
            self._restart(self._limits.head)

    def begin_exchange(self) -> None:
        """A head is complete."""
        self._is_exchanging = True
        self._handle.cancel()

    def end_exchange(self) -> None:
        """The answer has been written."""
        self._is_exchanging = self._head_begun = False
        self._restart(KEEPALIVE_SECONDS + self._limits.head)

    def stop(self) -> None:
        """The connection is gone."""
        self._handle.cancel()

    def _restart(self, seconds: float) -> None:
        self._handle.cancel()
        self._handle = self._start(seconds)

    def _start(self, seconds: float) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, self._cut)

    def _cut(self) -> None:
        if isinstance(self._transport, asyncio.WriteTransport):
            self._transport.abort()


def say_farewell(tool: asyncio.Transport, error: ProxyError) -> None:
    """Answer what is not read, and close; what still comes is thrown away, since closing before it would reset."""
    head, body = outcome(error, accept="")
    lines = [b"%b: %b\r\n" % line for line in head.fields]
    status = b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason)
    tool.write(b"".join([status, *lines, b"Connection: close\r\n\r\n", body]))
    tool.write_eof()
    asyncio.get_running_loop().call_later(FAREWELL_SECONDS, tool.abort)


class SurplusConnection(asyncio.Protocol):
    """A connection beyond the limit: told so without being read, and closed."""

    def __init__(self, connections: int) -> None:
        self._error = ProxyUnavailable(
            f"All {connections} connections of this proxy are in use.",
            hint="Close connections that are idle, or raise max_connections.",
            retry_after=1,
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say no."""
        # TCP and unix sockets have such a one; uvloop's is no subclass of asyncio's.
        say_farewell(cast(asyncio.Transport, transport), self._error)


def require_c_parser() -> None:
    """Refuse to run on aiohttp's parser in Python: it takes what the C parser refuses (CVE-2026-111750)."""
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise ConfigError(
            "aiohttp was installed without its C extensions, and its other parser lets ambiguous requests pass.",
            hint="Install its wheel: pip install --force-reinstall --only-binary :all: aiohttp; and unset "
            "AIOHTTP_NO_EXTENSIONS.",
        )
