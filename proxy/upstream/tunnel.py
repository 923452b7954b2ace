"""The environment's HTTPS proxy: which one, and the CONNECT tunnel through it (RFC 9110 section 9.3.6).

Only TLS goes through a tunnel, verified to the server itself: the corporate proxy sees a host name and
nothing else. Plain HTTP and this machine are never reached by one.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import unquote, urlsplit

from ..errors import ConfigError, UpstreamUnreachable
from ..model import BaseUrl
from ..rules.no_proxy import excluded_hosts, is_excluded

_VARIABLES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
"""Where a proxy for HTTPS is named, the first that is set and not empty; the order is curl's."""

MAX_REPLY_BYTES = 16 * 1024
"""Bytes of the proxy's reply to CONNECT; some explain a refusal at length in fields."""


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A proxy that opens tunnels; `authorization` is the value of its `Proxy-Authorization` field."""

    host: str
    port: int
    authorization: bytes | None = field(default=None, repr=False)

    @property
    def authority(self) -> str:
        """Host and port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def tunnel_for(base: BaseUrl, environment: Mapping[str, str]) -> Tunnel | None:
    """The tunnel by which the environment wants a server to be reached, None for the straight way.

    Raises ConfigError where the variable is not the URL of an HTTP proxy.
    """
    if base.scheme != "https" or base.is_loopback:
        return None
    variable = next((name for name in _VARIABLES if environment.get(name)), "")
    excluded = excluded_hosts(environment)
    if not variable or is_excluded(base.host, base.port, excluded):
        return None
    return _parse(variable, environment[variable].strip())


def _parse(variable: str, text: str) -> Tunnel:
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname if parts.scheme == "http" else None, parts.port
        user, password = parts.username, parts.password
    except ValueError:
        host = port = user = password = None
    if not host:
        # Neither the value nor what is wrong with it is told: both may hold a password.
        raise ConfigError(
            f"{variable} is not the URL of an HTTP proxy.",
            hint="Write http://host:port (no SOCKS, no TLS to the proxy), or list the server in NO_PROXY.",
        )
    authorization = None
    if user is not None:
        pair = f"{unquote(user)}:{unquote(password or '')}"
        authorization = b"Basic " + b64encode(pair.encode())
    return Tunnel(host, port or 80, authorization)


class TunnelRequest(asyncio.Protocol):
    """Asks a proxy for a tunnel to a server; `opened` is done when TLS may begin."""

    def __init__(self, tunnel: Tunnel, base: BaseUrl) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tunnel = tunnel
        self._base = base
        self._reply = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send CONNECT."""
        host = f"[{self._base.host}]" if ":" in self._base.host else self._base.host
        target = f"{host}:{self._base.port}".encode("ascii")
        parts = [b"CONNECT ", target, b" HTTP/1.1\r\nHost: ", target, b"\r\n"]
        if self._tunnel.authorization is not None:
            parts += [b"Proxy-Authorization: ", self._tunnel.authorization, b"\r\n"]
        # TCP has such a transport; uvloop's is no subclass of asyncio's.
        cast(asyncio.Transport, transport).write(b"".join([*parts, b"\r\n"]))

    def data_received(self, data: bytes) -> None:
        """Read the reply. Bytes after it are dropped: before TLS they are nothing of the server's."""
        self._reply += data
        if self.opened.done():
            return
        if b"\r\n\r\n" not in self._reply:
            if len(self._reply) > MAX_REPLY_BYTES:
                self._refuse("sent more than a head")
            return
        status = self._reply.split(b"\r\n", 1)[0].split(b" ")[1:2]
        if not self._reply.startswith(b"HTTP/1.") or not status or not status[0].isdigit():
            self._refuse("sent something that is not HTTP")
        elif status[0] == b"407":
            self._refuse(
                "asks for credentials (407)", "Put them into HTTPS_PROXY: http://user:password@host:port."
            )
        elif not status[0].startswith(b"2"):
            self._refuse(f"refused with {status[0].decode('ascii')}", "Ask its operator, or use NO_PROXY.")
        else:
            self.opened.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (the caller's signature)
        """Tell that there will be no tunnel."""
        if not self.opened.done():
            self._refuse("closed the connection")

    def _refuse(self, what: str, hint: str = "") -> None:
        self.opened.set_exception(
            UpstreamUnreachable(
                f"No tunnel to {self._base.authority}: the proxy {self._tunnel.authority} {what}.", hint=hint
            )
        )
