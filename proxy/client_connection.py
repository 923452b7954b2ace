"""One connection of a tool. Nothing here waits; `client_exchanges` does.

A plain request, which is almost every one of a FHIR tool, is taken here without aiohttp's objects; they cost more than
all rules together. Whatever is not provably plain goes to aiohttp, and so does all that follows it on the same
connection. Both ways end in one `Passage`.
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
from .client_upload import tool_takes
from .errors import InternalError
from .passage import Passage
from .rules.outcome import outcome
from .sites import Site

logger = logging.getLogger(__name__)


class Parser(Protocol):
    """Takes the bytes of a connection from its first request on that is not plain."""

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is gone."""

    def close(self) -> None:
        """Take no other request than those that have come."""

    def shutdown(self, timeout: float | None) -> Awaitable[None]:
        """Let a running exchange end within `timeout` seconds, then cut it."""


class Parsers(Protocol):
    """Makes the parser of a connection."""

    def parser(
        self, connection: ClientConnection, transport: asyncio.Transport, limits: ClientLimits
    ) -> Parser:
        """What parses the requests of a connection from now on."""


class Walk(Protocol):
    """An exchange that waits."""

    def begin(self) -> None:
        """Go on, until it has to wait."""

    def cancel(self) -> None:
        """Stop it where it waits."""


class Keeper(Protocol):
    """Who has the connections of a listener."""

    @property
    def site(self) -> Site:
        """Where exchanges go that begin now."""

    def walk(self, connection: ClientConnection, passage: Passage) -> Walk:
        """What carries on the exchange of a plain request where it has to wait, and calls `answered` at its end."""

    def want_parser(self, connection: ClientConnection) -> None:
        """Have `parse_by` called, at once or soon: a request has come that is not plain."""

    def closed(self, connection: ClientConnection) -> None:
        """Take note that a connection is gone."""


class ClientConnection:
    """A connection; it is the Outlet of its answers. To the event loop it is an asyncio.Protocol."""

    __slots__ = (
        "_answer_begun",
        "_head_limit",
        "_is_exchanging",
        "_is_leaving",
        "_is_on_its_last",
        "_is_plain",
        "_keeper",
        "_limits",
        "_parser",
        "_passage",
        "_plain",
        "_surplus",
        "_timer",
        "_tool",
        "_unparsed",
        "_walk",
        "on_drained",
        "on_end",
        "writing_paused",
    )

    def __init__(self, limits: ClientLimits, keeper: Keeper, *, fast: bool = True) -> None:
        self.writing_paused = False
        """Whether the tool is slower than the server: `drained` tells when it has caught up."""
        self.on_drained: Callable[[], object] | None = None
        """Called when it has, or is gone; for who waits to set."""
        self.on_end: Callable[[], object] | None = None
        """Called when the exchange of a plain request is over; for who waits to set."""
        self._limits = limits
        self._keeper = keeper
        self._timer: SilenceTimer | None = None
        self._tool: asyncio.Transport | None = None
        self._is_exchanging = self._answer_begun = False
        self._is_leaving = self._is_on_its_last = False
        # Plain requests, as long as there is nothing else on the connection.
        self._is_plain = fast
        self._plain: PlainRequest | None = None
        self._passage: Passage | None = None
        self._walk: Walk | None = None
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
                self._begin_plain(request)
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

    def eof_received(self) -> None:
        """Let the transport close: a tool that sends no more waits for no answer either."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the exchange that nobody waits for, and tell that there is room for another connection."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = self._tool = None
            self._keeper.closed(self)
        self.cancel_plain()
        if self._parser is not None:
            self._ring_drained()
            self._parser.connection_lost(exc)

    def pause_writing(self) -> None:
        """Let the answer wait: the tool takes it slower than the server sends it."""
        self.writing_paused = True

    def resume_writing(self) -> None:
        """Let the answer go on."""
        self.writing_paused = False
        self._ring_drained()

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

    def drained(self) -> Awaitable[None]:
        """Wait until the tool has taken what was sent; ConnectionError where it has stopped reading."""
        return tool_takes(self, self._limits)

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

    @property
    def is_answering_plainly(self) -> bool:
        """Whether a plain request is being answered."""
        return self._passage is not None

    def cancel_plain(self) -> None:
        """Cut the exchange of a plain request, where there is one."""
        if self._passage is not None and self._walk is None:
            self.has_to_wait()
        if self._walk is not None:
            self._walk.cancel()

    def shutdown_parser(self, timeout: float) -> Awaitable[None] | None:
        """Let a parsed exchange end within `timeout` seconds, then cut it; None where nothing was parsed."""
        return self._parser.shutdown(timeout) if self._parser is not None else None

    def finish(self) -> None:
        """Close, when what was written has been sent."""
        if self._tool is not None:
            self._tool.close()

    # Requests.

    def begin_parsed(self, body_is_whole: Callable[[], bool]) -> None:
        """The parser has made a request of bytes; tells whether its body has come to its end."""
        assert self._head_limit is not None  # noqa: S101  (it was made with the parser)
        self._head_limit.begin_exchange(body_is_whole)

    def end_parsed(self) -> None:
        """The parser's request has been answered."""
        if self._head_limit is not None:
            self._head_limit.end_exchange()

    def passage(self, request: ClientRequest) -> Passage:
        """A new exchange."""
        return Passage(request, self._keeper.site)

    def begin_exchange(self) -> None:
        """A request is being answered from now on."""
        if self._timer is not None:
            self._timer.begin_exchange()
        self._is_exchanging, self._answer_begun = True, False

    def end_exchange(self) -> None:
        """It has been answered."""
        self._is_exchanging = False
        if self._timer is not None:
            self._timer.end_exchange()

    def fail(self, request: ClientRequest, fault: Exception) -> ClientAnswer | None:
        """Tell of a fault of the proxy; an answer that has begun is cut, never completed, which None tells."""
        log_fault(fault)
        if self._answer_begun:
            self.abort()
            return None
        answer = ClientAnswer(request)
        answer.close()
        error = InternalError("The proxy itself failed; its log says where.")
        try:
            answer.send(*outcome(error, accept=request.head.fields.text(b"accept")))
        except ConnectionError:
            self.abort()
            return None
        return answer

    def answered(self, answer: ClientAnswer | None) -> None:
        """The exchange of a plain request is over; its answer is None where the connection was cut."""
        request, self._passage, self._walk = self._plain, None, None
        if self.on_end is not None:
            self.on_end()
        if self._tool is None or answer is None or request is None:
            return
        if self._is_leaving or not answer.keep_alive:
            self._leave(request)
            return
        self._plain = None
        if self._surplus:
            # In a turn of its own: of many requests sent ahead none is to be answered within the last.
            asyncio.get_running_loop().call_soon(self._go_on)

    # What its passage calls.

    def has_ended(self) -> None:
        """The exchange of a plain request has needed nobody to wait."""
        self.end_exchange()
        passage = self._passage
        self.answered(passage.client if passage is not None else None)

    def has_to_wait(self) -> None:
        """The exchange of a plain request has to wait."""
        if self._passage is not None:
            self._walk = walk = self._keeper.walk(self, self._passage)
            walk.begin()

    def has_failed(self, fault: Exception) -> None:
        """The exchange of a plain request is over by a fault of the proxy."""
        self.end_exchange()
        if self._plain is not None:
            self.answered(self.fail(self._plain, fault))

    def _begin_plain(self, request: PlainRequest) -> None:
        self.begin_exchange()
        self._passage = passage = self.passage(request)
        if not passage.begin(self):
            self.has_to_wait()

    def _ring_drained(self) -> None:
        if self.on_drained is not None:
            self.on_drained()

    def _go_on(self) -> None:
        """Take what came while a plain request was answered."""
        surplus, self._surplus = self._surplus, b""
        if self._tool is not None and surplus:
            self._tool.resume_reading()
            self.data_received(surplus)

    def _more(self, request: PlainRequest, data: bytes) -> None:
        """Bytes while a plain request is answered: the rest of its body, or what follows it."""
        surplus = request.feed(data)
        if self._passage is None:
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
