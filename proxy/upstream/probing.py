"""What the system and TLS know about a connection and asyncio does not tell."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass


def input_of(descriptor: int) -> Callable[[], bool]:
    """Asks whether bytes, or the end, have arrived at a socket without being read yet."""
    if sys.platform == "win32":  # where select takes any descriptor; elsewhere it fails from 1024 on
        return lambda: bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return lambda: bool(poll.poll(0))


def end_is_signed(transport: asyncio.Transport) -> bool:
    """Whether an end that was just received is the server's own: TCP's as it is, TLS's by its close_notify.

    Without one anybody on the way may have cut the connection (RFC 9112 section 9.8). asyncio reports both
    alike, so the TLS object is asked: after a close_notify reading from it gives nothing, before it wants more.
    """
    tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    if tls is None:
        return True
    try:
        return not tls.read(1)
    except ssl.SSLError:
        return False


@dataclass(frozen=True, slots=True)
class Road:
    """From which address of this machine a connection was made, and to which of the server."""

    local: str
    remote: tuple[str, int]

    @classmethod
    def of(cls, transport: asyncio.BaseTransport) -> Road:
        """The road of a connection over IP."""
        local, remote = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        return cls(local[0], remote[:2])

    @property
    def is_open(self) -> bool:
        """Whether the system would still take it: not after another network, or a VPN, has come or gone.

        The address that it chooses for a datagram socket tells; nothing is sent.
        """
        family = socket.AF_INET6 if ":" in self.remote[0] else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as scout:
                scout.connect(self.remote)
                return bool(scout.getsockname()[0] == self.local)
        except OSError:
            return False


class SleepWatch:
    """Notices that the machine has slept, which the event loop's clock does not count on every system."""

    LEAST = 5.0
    """Seconds between both clocks that are no rounding and no correction of the time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._ahead = wall() - loop.time()

    def has_slept(self, now: float) -> bool:
        """Whether it has since this was asked last, by the loop's time; a clock that was put forward looks the same."""
        before, self._ahead = self._ahead, self._wall() - now
        return self._ahead - before > self.LEAST
