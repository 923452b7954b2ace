"""One connection of a tool.

A plain request, which is almost every one of a FHIR tool, is answered here without aiohttp's objects; they cost
more than all rules together. Whatever is not provably plain goes to aiohttp, and so does all that follows it on
the same connection. Both ways end in the one `exchange` that the connection was made with.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import traceback
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

from .client import SMALL, ClientAnswer, ClientRequest
from .client_heads import HeadLimit
from .client_limits import FAREWELL_SECONDS, ClientLimits, SilenceTimer
from .client_requests import PlainRequest, plain_request
from .errors import InternalError
from .rules.outcome import outcome
from .stepping import Bell, Run

logger = logging.getLogger(__name__)

ExchangeWith = Callable[[ClientRequest], Awaitable[ClientAnswer]]
"""Answer one request; ConnectionError is raised where the tool has left."""


class Parser(Protocol):
    """Takes the bytes of a connection from its first request on that is not plain."""

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is gone."""

    def close(self) -> None:
        """Take no other request than those that have come."""

    async def shutdown(self, timeout: float | None) -> None:  # noqa: ASYNC109  (aiohttp's signature)
        """Let a running exchange end within `timeout` seconds, then cut it."""


class Parsers(Protocol):
    """Makes the parser of a connection."""

    def parser(
        self, connection: ClientConnection, transport: asyncio.Transport, limits: ClientLimits
    ) -> Parser:
        """What parses the requests of a connection from now on."""


class Keeper(Protocol):
    """Who has the connections of a listener."""

    def want_parser(self, connection: ClientConnection) -> None:
        """Have `parse_by` called, at once or soon: a request has come that is not plain."""

    def closed(self, connection: ClientConnection) -> None:
        """Take note that a connection is gone."""


class ClientConnection(asyncio.Protocol):
    """A connection; it is the Outlet of its answers."""

    __slots__ = (
        "_answer_begun",
        "_drained",
        "_ended",
        "_exchange",
        "_head_limit",
        "_is_exchanging",
        "_is_leaving",
        "_is_on_its_last",
        "_is_plain",
        "_keeper",
        "_limits",
        "_parser",
        "_plain",
        "_run",
        "_surplus",
        "_timer",
        "_tool",
        "_unparsed",
        "writing_paused",
    )

    def __init__(
        self, limits: ClientLimits, exchange: ExchangeWith, keeper: Keeper, *, fast: bool = True
    ) -> None:
        self.writing_paused = False
        """Whether the tool is slower than the server: `drained` tells when it has caught up."""
        self._limits = limits
        self._exchange = exchange
        self._keeper = keeper
        self._timer: SilenceTimer | None = None
        self._tool: asyncio.Transport | None = None
        self._drained = Bell()
        self._is_exchanging = self._answer_begun = False
        self._is_leaving = self._is_on_its_last = False
        # Plain requests, as long as there is nothing else on the connection.
        self._is_plain = fast
        self._plain: PlainRequest | None = None
        self._run: Run | None = None
        self._ended: asyncio.Future[None] | None = None
        self._surplus = b""
        # From the first one on that is not plain.
        self._parser: Parser | None = None
        self._unparsed = b""
        self._head_limit: HeadLimit | None = None

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for a head."""
        # TCP and unix sockets have such a one; uvloop's is no subclass of asyncio's.
        self._tool = cast(asyncio.Transport, transport)
        _keep_alive(transport)
        self._timer = SilenceTimer(self._tool, self._limits)

    def data_received(self, data: bytes) -> None:
        """Answer a plain request here, and let aiohttp parse everything else."""
        if self._plain is not None:
            self._more(self._plain, data)
            return
        if self._surplus:
            self._surplus += data
            return
        if self._is_leaving and self._parser is None:
            return
        if self._is_plain:
            request = plain_request(data, self, self._limits)
            if request is not None:
                self._plain = request
                self._run = run = Run(self._answer_plain(request))
                run.begin()
                return
            self._is_plain = False
        if self._timer is None or self._tool is None:
            return
        self._timer.received(data)
        if self._head_limit is None:
            self._head_limit = HeadLimit(self._tool)
            self._keeper.want_parser(self)
        if not self._head_limit.takes(data):
            return
        if self._parser is not None:
            self._parser.data_received(data)
        else:
            self._unparsed += data
            if len(self._unparsed) > SMALL:
                self._tool.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the exchange that nobody waits for, and tell that there is room for another connection."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = self._tool = None
            self._keeper.closed(self)
        if self._run is not None:
            self._run.cancel()
        if self._parser is not None:
            self._drained.ring()
            self._parser.connection_lost(exc)

    def pause_writing(self) -> None:
        """Let the answer wait: the tool takes it slower than the server sends it."""
        self.writing_paused = True

    def resume_writing(self) -> None:
        """Let the answer go on."""
        self.writing_paused = False
        self._drained.ring()

    # What an answer needs of its Outlet.

    @property
    def takes_more(self) -> bool:
        """Whether another request may follow the next answer."""
        return not self._is_on_its_last

    def write(self, *pieces: bytes) -> None:
        """Send bytes; ConnectionError where the tool has left."""
        if self._tool is None or self._tool.is_closing():
            raise ConnectionResetError("the tool has left")
        self._answer_begun = True
        if len(pieces) == 1:
            self._tool.write(pieces[0])
        else:
            self._tool.writelines(pieces)

    async def drained(self) -> None:
        """Wait until the tool has taken what was sent; ConnectionError where it has stopped reading."""
        if not await self._drained.rings_within(self._limits.send):
            raise ConnectionAbortedError("the tool has stopped reading")

    def abort(self) -> None:
        """Cut the connection."""
        if self._tool is not None:
            self._tool.abort()

    def parse_by(self, parsers: Parsers) -> None:
        """Have parsed what is not plain, and all that follows it."""
        if self._tool is None:
            return
        self._parser = parsers.parser(self, self._tool, self._limits)
        unparsed, self._unparsed = self._unparsed, b""
        if unparsed:
            self._tool.resume_reading()
            self._parser.data_received(unparsed)

    # The end of the connection.

    def close(self) -> None:
        """Take no other request than those that have come."""
        self._is_leaving = True
        if self._parser is not None:
            self._parser.close()

    def take_no_more(self) -> None:
        """Let the next answer say that it is the last one."""
        self._is_on_its_last = True

    def hang_up(self) -> None:
        """Close, unless a request is being answered."""
        is_idle = not self._is_exchanging and self._plain is None and not self._unparsed
        if self._tool is not None and is_idle:
            self._tool.close()

    async def shutdown(self, timeout: float) -> None:  # noqa: ASYNC109  (as aiohttp's parser has it)
        """Let a running exchange end within `timeout` seconds, then cut it."""
        if self._run is not None:
            self._ended = asyncio.get_running_loop().create_future()
            await asyncio.wait({self._ended}, timeout=timeout)
        if self._run is not None:
            self._run.cancel()
        if self._parser is not None:
            await self._parser.shutdown(timeout)
        if self._tool is not None:
            self._tool.close()

    # Requests.

    async def answer_parsed(self, request: ClientRequest, body_is_whole: Callable[[], bool]) -> bool:
        """Answer a request that the parser has made of bytes; whether it was answered and another may follow."""
        assert self._head_limit is not None  # noqa: S101  (it was made with the parser)
        self._head_limit.begin_exchange(body_is_whole)
        try:
            answer = await self._answer(request)
        finally:
            self._head_limit.end_exchange()
        return answer is not None and answer.keep_alive

    async def _answer(self, request: ClientRequest) -> ClientAnswer | None:
        """Run the exchange; None where the connection was cut."""
        if self._timer is not None:
            self._timer.begin_exchange()
        self._is_exchanging, self._answer_begun = True, False
        try:
            return await self._exchange(request)
        except ConnectionError:
            self.abort()
            return None
        except asyncio.CancelledError:
            self.abort()
            raise
        except Exception as fault:  # noqa: BLE001  (the last place at which the tool can still be told)
            return await self._fail(request, fault)
        finally:
            self._is_exchanging = False
            if self._timer is not None:
                self._timer.end_exchange()

    async def _fail(self, request: ClientRequest, fault: Exception) -> ClientAnswer | None:
        """Tell of a fault of the proxy; an answer that has begun is cut, never completed."""
        log_fault(fault)
        if self._answer_begun:
            self.abort()
            return None
        answer = ClientAnswer(request)
        answer.close()
        error = InternalError("The proxy itself failed; its log says where.")
        try:
            await answer.send(*outcome(error, accept=request.head.fields.text(b"accept")))
        except ConnectionError:
            self.abort()
            return None
        return answer

    async def _answer_plain(self, request: PlainRequest) -> None:
        try:
            answer = await self._answer(request)
        finally:
            self._run = None
            if self._ended is not None and not self._ended.done():
                self._ended.set_result(None)
        if self._tool is None or answer is None:
            return
        if self._is_leaving or not answer.keep_alive:
            self._leave(request)
            return
        self._plain = None
        if self._surplus:
            # In a turn of its own: of many requests sent ahead none is to be answered within the last.
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        """Take what came while a plain request was answered."""
        surplus, self._surplus = self._surplus, b""
        if self._tool is not None and surplus:
            self._tool.resume_reading()
            self.data_received(surplus)

    def _more(self, request: PlainRequest, data: bytes) -> None:
        """Bytes while a plain request is answered: the rest of its body, or what follows it."""
        surplus = request.feed(data)
        if self._run is None:
            self._leave(request)
        elif surplus and self._tool is not None:
            self._surplus += surplus
            if len(self._surplus) > SMALL:
                self._tool.pause_reading()

    def _leave(self, request: PlainRequest) -> None:
        """Close when the body is there, or soon: closing before it is read would reset and lose the answer."""
        if self._tool is None:
            return
        if request.is_read:
            self._tool.close()
        elif not self._is_leaving:
            asyncio.get_running_loop().call_later(FAREWELL_SECONDS, self._tool.close)
        self._is_leaving = True


def log_fault(fault: BaseException | None) -> None:
    """Log where a fault happened and of which kind it is; its message may quote patient data."""
    frames = "".join(traceback.format_tb(fault.__traceback__)) if fault else ""
    logger.error("Internal error: %s\n%s", type(fault).__name__, frames)


def _keep_alive(transport: asyncio.BaseTransport) -> None:
    """Have the system notice a tool that is gone without a word."""
    connected = transport.get_extra_info("socket")
    if connected is not None:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
