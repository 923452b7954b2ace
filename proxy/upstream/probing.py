"""What the system and TLS know about a connection and asyncio does not tell."""

from __future__ import annotations

import asyncio
import select
import ssl
from collections.abc import Callable

if hasattr(select, "poll"):

    def input_of(descriptor: int) -> Callable[[], bool]:
        """Asks whether bytes, or the end, have arrived at a socket without being read yet."""
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return lambda: bool(poll.poll(0))

else:  # Windows, whose select takes any descriptor; elsewhere it fails from 1024 on

    def input_of(descriptor: int) -> Callable[[], bool]:
        """Asks whether bytes, or the end, have arrived at a socket without being read yet."""
        return lambda: bool(select.select([descriptor], [], [], 0)[0])


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
