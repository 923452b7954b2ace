"""TCP sockets to listen on: every loopback address for localhost, and never a port that somebody else has."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Sequence

from .config import ListenAddress
from .errors import ConfigError
from .port_holder import port_holder

LOOPBACK_ADDRESSES = ("127.0.0.1", "::1")
"""What `localhost` stands for (RFC 6761 section 6.3).

Both are bound: a tool may try either first, and nobody else shall sit on the other one.
"""

FREE_PORT_TRIES = 16
"""A port that is free on the first address can be taken on the second; then another one is tried."""


async def bound_sockets(
    address: ListenAddress, key: str = "listen", *, joining: bool = False
) -> list[socket.socket]:
    """Sockets for every address that the name stands for, all on one port; ConfigError names the setting `key`.

    `joining` takes a port that another process of this user has opened by `let_join`.
    """
    hosts: Sequence[str] = LOOPBACK_ADDRESSES
    if address.host != "localhost":
        try:
            found = await asyncio.get_running_loop().getaddrinfo(address.host, None, type=socket.SOCK_STREAM)
        except OSError as exc:
            raise ConfigError(
                f"{key} = {address}: this machine has no address named {address.host!r}.",
                hint="Listen on localhost, or on an address of this machine.",
            ) from exc
        hosts = tuple(dict.fromkeys(str(row[4][0]) for row in found))
    for tries_left in reversed(range(FREE_PORT_TRIES)):
        sockets: list[socket.socket] = []
        port = address.port
        try:
            for host in hosts:
                bound = _bound(host, port, joining=joining)
                if bound is not None:
                    sockets.append(bound)
                    port = bound.getsockname()[1]
        except OSError as exc:
            for bound in sockets:
                bound.close()
            if address.port == 0 and sockets and tries_left:
                continue
            raise cannot_listen(address, exc, key) from exc
        if sockets:
            return sockets
    raise cannot_listen(address, OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL)), key)


def let_join(bound: socket.socket) -> None:
    """Let processes of this user bind its port as well, by SO_REUSEPORT, and nobody else whatever they do.

    Linux compares the users (socket(7)). The socket was bound alone, so that a port which is taken has been told
    as taken; it must not listen itself. While it is open, and SO_REUSEADDR taken back, the port stays with this
    user even when none of the others listens.
    """
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)


def _bound(host: str, port: int, *, joining: bool) -> socket.socket | None:
    """A socket on that address and port; None where the machine has no IPv6."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound: socket.socket | None = None
    try:
        bound = socket.socket(family, socket.SOCK_STREAM)
        # A port that someone else listens on must never be shared: Windows' SO_REUSEADDR would do that.
        if sys.platform == "win32":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if joining:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((host, port))
    except OSError as exc:
        if bound is not None:
            bound.close()
        if family == socket.AF_INET6 and exc.errno in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
            return None
        raise
    return bound


def cannot_listen(address: ListenAddress, error: OSError, key: str) -> ConfigError:
    """The error for an address that cannot be had, with who has it where the system tells."""
    if error.errno == errno.EADDRINUSE:
        return ConfigError(
            f"{key} = {address}: port {address.port} is taken by {port_holder(address.port) or 'another program'}.",
            hint="Stop that program, or take another port: "
            f"--{key.replace('_', '-')} {address.host}:0 finds a free one.",
        )
    return ConfigError(
        f"{key} = {address}: this address cannot be had ({error.strerror or type(error).__name__}).",
        hint="Listen on localhost, on a port from 1024 up.",
    )
