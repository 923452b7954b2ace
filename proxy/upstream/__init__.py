"""The connections to the real server: HTTP/1.1 on asyncio and llhttp.

`Upstream.send` writes a RequestHead as it is, streams its body and gives the Answer. The room in files, each
importing only from those above it::

    timeouts.py     how long is waited for what
    tls.py          whom TLS trusts, and what its failures mean
    tunnel.py       the environment's HTTPS proxy, by CONNECT
    dial.py         TCP, tunnel, TLS: the one way to the one server
    writing.py      RequestHead -> bytes                                no I/O
    reading.py      bytes -> ResponseHead and body, RFC 9112 section 6  no I/O
    body.py         the Answer: a body as a stream with back-pressure    no waiting
    probing.py      what the system and TLS know and asyncio does not tell
    stale.py        a connection that had ended before it was used
    connection.py   one connection, one exchange at a time               no waiting
    waiting.py      for answers, their bodies, and servers that take a body slowly
    idle.py         connections between exchanges: reuse, and their end  no waiting
    sending.py      a request that is sent where a connection is free    no waiting
    pool.py         bounds, and a line for who waits
"""

from __future__ import annotations

import asyncio
import logging
import math
import ssl
from collections.abc import AsyncIterator, Awaitable
from typing import cast

from ..errors import ProxyError
from ..model import BaseUrl, RequestHead
from .body import Answer
from .connection import Connection
from .dial import Dialer
from .pool import Pool
from .sending import Beginnings, Sending
from .stale import StaleConnectionError
from .timeouts import Timeouts
from .tls import tls_context
from .tunnel import Tunnel, tunnel_for
from .waiting import answered, chunks, exchange, exchange_whole, small_body
from .writing import request_message

__all__ = [
    "MAX_CONNECTIONS",
    "Answer",
    "Sending",
    "Timeouts",
    "Tunnel",
    "Upstream",
    "chunks",
    "small_body",
    "tls_context",
    "tunnel_for",
]

logger = logging.getLogger(__name__)

WARMING_DELAY = 0.02
"""Seconds after which what a request waits for is taken to come over a network, as a token does."""

MAX_CONNECTIONS = 256
"""Connections to one server: more than the sockets that a browser, a notebook and an export open together."""


class Upstream:
    """One server, reached at its host and port alone; to be made and used within one event loop."""

    def __init__(
        self,
        base: BaseUrl,
        *,
        tls: ssl.SSLContext | None,
        tunnel: Tunnel | None = None,
        timeouts: Timeouts | None = None,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._where = base.authority
        self._timeouts = timeouts or Timeouts()
        self._dialer = Dialer(base, tls, tunnel, self._timeouts.connect)
        self._pool = Pool(self._dial, self._where, max_connections, self._timeouts.connect)
        self._beginnings = Beginnings(self._pool.idle, self._timeouts.fresh)
        self.begin = self._beginnings.begin
        self._warming: asyncio.Task[None] | None = None

    @property
    def open_connections(self) -> int:
        """Connections to the server, busy and idle."""
        return self._pool.size

    async def send(self, head: RequestHead, body: AsyncIterator[bytes] | bytes | None = None) -> Answer:
        """Send a request whose fields are complete, and wait for the final answer.

        A small one is there as a whole, of any other its head; where the body streams up, always the head alone.

        The body goes out by the `Content-Length` in the fields, which it has to keep, or else chunked. It
        is not read any more when this returns or raises. An answer that comes before its end is delivered,
        and stops it. What `body` raises passes through, and so does BadRequest for a body of another
        length; then the server has not got a complete request. Raises also UpstreamUnreachable,
        UpstreamTimeout, UpstreamProtocolError, ProxyUnavailable, and ValueError for a head that must never
        be sent.
        """
        sending = Sending(request_message(head, body_exists=body is not None), body)
        return await self._answered(
            sending, self._exchanged(sending, self._beginnings.max_idle(sending.message))
        )

    async def answer_to(self, sending: Sending) -> Answer:
        """Wait for the answer to what has begun, and send it again where `send` would; raises as that does."""
        return await self._answered(sending, answered(sending.arrival))

    def warm(self) -> None:
        """Open a connection, where there is none, for a request that waits for something else first.

        Not at once, since what is waited for may be there at once; and what fails is that request's to tell.
        """
        if self._pool.is_cold and self._warming is None:
            self._warming = asyncio.create_task(self._warm())

    async def _warm(self) -> None:
        try:
            await asyncio.sleep(WARMING_DELAY)
            if self._pool.is_cold:
                connection = await self._pool.acquire(math.inf)
                connection.rest()
                self._pool.idle.keep(connection)
        except ProxyError:
            logger.debug("No connection to %s could be opened ahead.", self._where)
        finally:
            self._warming = None

    async def _answered(self, sending: Sending, answering: Awaitable[Answer]) -> Answer:
        try:
            answer = await answering
        except StaleConnectionError:
            # The server had closed the connection before it saw the request; a new one is never stale.
            if not sending.message.idempotent:
                raise
            answer = await self._exchanged(sending, 0)
        sending.time(answer)
        return answer

    async def _exchanged(self, sending: Sending, max_idle: float) -> Answer:
        connection = self._pool.idle.take(max_idle) or await self._pool.acquire(max_idle)
        body = sending.body
        if body is None or isinstance(body, bytes):
            return await exchange_whole(connection, sending.message, body or b"")
        return await exchange(connection, sending.message, body)

    async def close(self) -> None:
        """Close all connections, with whatever runs on them."""
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.wait([self._warming])
        await self._pool.close()

    async def _dial(self) -> Connection:
        connection = Connection(self._where, self._timeouts, self._pool.idle, self._pool.forget)
        # A class with a base from elsewhere is not compiled; the event loop needs none.
        await self._dialer.dial(cast(asyncio.Protocol, connection))
        logger.debug("A new connection to %s; %d were open before it.", self._where, self._pool.size)
        return connection
