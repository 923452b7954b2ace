"""What one tool may cost: how long its connection is waited for, and how many connections there may be."""

from __future__ import annotations

import asyncio
import math
import os
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.util import find_spec
from typing import Final

from .errors import ConfigError, ProxyError
from .rules.outcome import outcome

KEEPALIVE_SECONDS: Final = 75.0
"""How long an idle connection of a tool stays open: nginx's default; aiohttp's own is an hour."""

FAREWELL_SECONDS: Final = 2.0
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


class SilenceTimer:
    """Ends a connection that brings no whole head in time (slowloris), or none at all; aiohttp has no such limit.

    A head has `limits.head` seconds from the connection's start, or from its own first byte; between exchanges
    the connection may be idle. While an exchange runs its own limits hold. One timer of the event loop serves
    the whole connection: it is moved forward only when it goes off too early.
    """

    __slots__ = ("_deadline", "_due", "_handle", "_head_begun", "_limits", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, limits: ClientLimits) -> None:
        self._transport = transport
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._head_begun = True
        self._deadline = self._due = self._loop.time() + limits.head
        self._handle: asyncio.TimerHandle | None = self._loop.call_at(self._due, self._check)

    def received(self, data: bytes) -> None:
        """Bytes have come; between exchanges they are the start of a head."""
        if data and not self._head_begun:
            self._head_begun = True
            self._set(self._limits.head)

    def begin_exchange(self) -> None:
        """A head is complete."""
        self._head_begun = True
        self._deadline = math.inf

    def end_exchange(self) -> None:
        """The answer has been written."""
        self._head_begun = False
        self._set(KEEPALIVE_SECONDS)

    def stop(self) -> None:
        """The connection is gone."""
        if self._handle is not None:
            self._handle.cancel()

    def _set(self, seconds: float) -> None:
        self._deadline = self._loop.time() + seconds
        if self._handle is None or self._deadline < self._due:
            self._start()

    def _start(self) -> None:
        self.stop()
        self._due = self._deadline
        self._handle = self._loop.call_at(self._due, self._check)

    def _check(self) -> None:
        self._handle = None
        if self._deadline == math.inf:
            return  # `end_exchange` starts it again.
        if self._loop.time() < self._deadline:
            self._start()
        elif self._head_begun or self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.close()


def say_farewell(tool: asyncio.Transport, error: ProxyError) -> None:
    """Answer what is not read, and close; what still comes is thrown away, since closing before it would reset."""
    head, body = outcome(error, accept="")
    lines = [b"%b: %b\r\n" % line for line in head.fields]
    status = b"HTTP/1.1 %d %b\r\n" % (head.status, head.reason)
    tool.write(b"".join([status, *lines, b"Connection: close\r\n\r\n", body]))
    tool.write_eof()
    asyncio.get_running_loop().call_later(FAREWELL_SECONDS, tool.abort)


def require_c_parser() -> None:
    """Refuse to run on aiohttp's parser in Python; aiohttp itself is not loaded for that."""
    aiohttp = find_spec("aiohttp")
    places = aiohttp.submodule_search_locations if aiohttp else None
    if os.environ.get("AIOHTTP_NO_EXTENSIONS") or PathFinder.find_spec("_http_parser", places) is None:
        raise without_c_parser()


def without_c_parser() -> ConfigError:
    """What to tell: the parser in Python of aiohttp takes what the one in C refuses (CVE-2026-111750)."""
    return ConfigError(
        "aiohttp was installed without its C extensions, and its other parser lets ambiguous requests pass.",
        hint="Install its wheel: pip install --force-reinstall --only-binary :all: aiohttp; and unset "
        "AIOHTTP_NO_EXTENSIONS.",
    )
