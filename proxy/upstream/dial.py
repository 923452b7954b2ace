"""Open a connection to one server: TCP, a tunnel where the environment wants one, TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass

from aiohappyeyeballs import start_connection

from ..errors import ProxyError, UpstreamTimeout, UpstreamUnreachable
from ..model import BaseUrl
from .tls import tls_failure
from .tunnel import Tunnel, TunnelRequest

HAPPY_EYEBALLS_DELAY = 0.25
"""Seconds until the next address is tried beside one that does not answer (RFC 8305 section 8)."""


@dataclass(frozen=True, slots=True)
class Dialer:
    """The one way to one server: there is no other host or port that a connection of it could lead to."""

    base: BaseUrl
    tls: ssl.SSLContext | None
    tunnel: Tunnel | None
    timeout: float

    def __post_init__(self) -> None:
        if (self.base.scheme == "https") != (self.tls is not None):
            raise ValueError("https needs a TLS context, and http has none")
        if self.tunnel is not None and self.tls is None:
            raise ValueError("only TLS goes through a tunnel")

    async def dial(self, connection: asyncio.Protocol) -> None:
        """Connect; raises UpstreamTimeout or UpstreamUnreachable, which say what is in the way."""
        where = self.base.authority
        try:
            async with asyncio.timeout(self.timeout):
                if self.tunnel is None:
                    await self._dial_straight(connection)
                else:
                    await self._dial_through(self.tunnel, connection)
        except TimeoutError as error:
            raise UpstreamTimeout(f"No connection to {where} within {self.timeout:g} s.") from error
        except ssl.SSLError as error:
            raise tls_failure(where, error) from error
        except OSError as error:
            raise UpstreamUnreachable(f"TLS with {where} failed: {error.strerror or error}.") from error

    async def _dial_straight(self, connection: asyncio.Protocol) -> None:
        tcp = await _connect(self.base.host, self.base.port, self.base.authority)
        await asyncio.get_running_loop().create_connection(
            lambda: connection,
            sock=tcp,
            ssl=self.tls,
            server_hostname=self.base.host if self.tls is not None else None,
        )

    async def _dial_through(self, tunnel: Tunnel, connection: asyncio.Protocol) -> None:
        assert self.tls is not None  # noqa: S101  (held by __post_init__)
        loop = asyncio.get_running_loop()
        tcp = await _connect(tunnel.host, tunnel.port, f"the proxy {tunnel.authority}")
        request = TunnelRequest(tunnel, self.base)
        transport, _ = await loop.create_connection(lambda: request, sock=tcp)
        try:
            await request.opened
            inner = await loop.start_tls(transport, connection, self.tls, server_hostname=self.base.host)
        except BaseException:
            transport.abort()
            raise
        assert inner is not None  # noqa: S101  (None is for a transport that was closed meanwhile)
        # start_tls leaves this to its caller.
        connection.connection_made(inner)


async def _connect(host: str, port: int, where: str) -> socket.socket:
    """A TCP connection to the first address that answers."""
    try:
        addresses = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        tcp = await start_connection(addresses, happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except TimeoutError:
        raise
    except (OSError, UnicodeError) as error:
        raise _unreachable(where, error) from error
    return tcp


def _unreachable(where: str, error: Exception) -> ProxyError:
    if isinstance(error, (socket.gaierror, UnicodeError)):
        return UpstreamUnreachable(
            f"The name of {where} is not known.", hint="Check the host's spelling, the network and the VPN."
        )
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return UpstreamUnreachable(
        f"No connection to {where}: {reason}.",
        hint="Check that the server runs and that a firewall lets it through.",
    )
