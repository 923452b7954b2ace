"""A connection that is opened to be looked at: nothing is said on it."""

from __future__ import annotations

import asyncio
import ssl

from ..config import ServerConfig
from ..model import BaseUrl
from ..upstream.dial import Dialer
from ..upstream.tunnel import Tunnel


class Visit(asyncio.Protocol):
    """What can be seen of a connection, which ends as soon as it is open."""

    address = ""
    """The peer's address."""
    certificate = b""
    """The peer's certificate, DER; empty without TLS."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Look, and go away."""
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else "an address that is gone"
        tls = transport.get_extra_info("ssl_object")
        self.certificate = (tls.getpeercert(binary_form=True) or b"") if tls else b""
        if isinstance(transport, asyncio.Transport):
            transport.abort()


async def visit(
    config: ServerConfig, where: BaseUrl, tls: ssl.SSLContext | None, tunnel: Tunnel | None
) -> Visit:
    """Connect as the proxy does; raises what the Dialer raises."""
    seen = Visit()
    await Dialer(where, tls, tunnel, config.connect_timeout).dial(seen)
    return seen
