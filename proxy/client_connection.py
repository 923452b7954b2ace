"""One connection of a tool, on aiohttp's server.

A plain request, which is almost every one of a FHIR tool, is answered here without aiohttp's objects; they cost
more than all rules together. Whatever is not provably plain goes to aiohttp, and so does all that follows it on
the same connection. Both ways end in the one `exchange` that the connection was made with.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import cast

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from .client import SMALL, ClientAnswer, ClientRequest
from .client_heads import HeadLimit
from .client_limits import FAREWELL_SECONDS, ClientLimits, SilenceTimer
from .client_requests import AiohttpRequest, PlainRequest, plain_request
from .errors import BadRequest, FieldsTooLarge, InternalError, ProxyError
from .rules.outcome import outcome

logger = logging.getLogger(__name__)

PARSER_LIMIT = 64 * 1024
"""Bytes of a request line or field line that are parsed at all; the guards refuse less, in FHIR's terms."""

MAX_FIELDS = 256
"""Field lines of a request: twice aiohttp's default, since tools behind gateways send many."""

NEVER = 10 * 365 * 86400.0
"""Seconds of aiohttp's own limit of an idle connection: it does not see plain requests. SilenceTimer has ours."""

ExchangeWith = Callable[[ClientRequest], Awaitable[ClientAnswer]]
"""Answer one request; ConnectionError is raised where the tool has left."""


class ClientConnection(web.RequestHandler):
    """A connection; what cannot be parsed is answered in FHIR's terms, and never logged."""

    __slots__ = (
        "_answer_begun",
        "_drained",
        "_exchange",
        "_exchanging",
        "_head_limit",
        "_is_leaving",
        "_is_on_its_last",
        "_is_plain",
        "_limits",
        "_plain",
        "_surplus",
        "_task",
        "_timer",
        "_tool",
        "_when_closed",
    )

    def __init__(
        self,
        server: web.Server,
        limits: ClientLimits,
        exchange: ExchangeWith,
        when_closed: Callable[[], None],
        *,
        fast: bool = True,
    ) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # aiohttp's documented way to have none
            auto_decompress=False,
            keepalive_timeout=NEVER,
            max_line_size=PARSER_LIMIT,
            max_field_size=PARSER_LIMIT,
            max_headers=MAX_FIELDS,
        )
        self._limits = limits
        self._exchange = exchange
        self._when_closed = when_closed
        self._timer: SilenceTimer | None = None
        self._tool: asyncio.Transport | None = None
        self._drained: asyncio.Future[None] | None = None
        self._exchanging = False
        self._answer_begun = False
        self._is_leaving = self._is_on_its_last = False
        # Plain requests, as long as there is nothing else on the connection.
        self._is_plain = fast
        self._plain: PlainRequest | None = None
        self._task: asyncio.Task[None] | None = None
        self._surplus = b""

    @classmethod
    def of(cls, request: web.BaseRequest) -> ClientConnection:
        """The connection on which a request came."""
        if not isinstance(request.protocol, cls):
            raise TypeError("the request came on no connection of a tool")
        return request.protocol

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for a head."""
        # TCP and unix sockets have such a one; uvloop's is no subclass of asyncio's.
        self._tool = cast(asyncio.Transport, transport)
        self._timer = SilenceTimer(self._tool, self._limits)
        self._head_limit = HeadLimit(self._tool)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Answer a plain request here, and let aiohttp parse everything else."""
        if self._plain is not None:
            self._more(self._plain, data)
            return
        if self._is_plain:
            request = None if self._is_leaving else plain_request(data, self, self._limits)
            if request is not None:
                self._plain = request
                self._task = asyncio.get_running_loop().create_task(self._answer_plain(request))
                return
            self._is_plain = False
        if self._timer is not None:
            self._timer.received(data)
        if self._head_limit.takes(data):
            super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the exchange that nobody waits for, and tell that there is room for another connection."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = self._tool = None
            self._when_closed()
        self._wake()
        if self._task is not None:
            self._task.cancel()
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        """Let the answer go on."""
        super().resume_writing()
        self._wake()

    # What an answer needs of its Outlet.

    @property
    def takes_more(self) -> bool:
        """Whether another request may follow the next answer."""
        return not self._is_on_its_last

    def write(self, data: bytes) -> None:
        """Send bytes; ConnectionError where the tool has left."""
        if self._tool is None or self._tool.is_closing():
            raise ConnectionResetError("the tool has left")
        self._answer_begun = True
        self._tool.write(data)

    async def drained(self) -> None:
        """Wait until the tool has taken what was sent; ConnectionError where it has stopped reading."""
        self._drained = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._limits.send):
                await self._drained
        except TimeoutError:
            raise ConnectionAbortedError("the tool has stopped reading") from None
        finally:
            self._drained = None

    def abort(self) -> None:
        """Cut the connection."""
        if self._tool is not None:
            self._tool.abort()

    # The end of the connection, which aiohttp's server asks for by these names.

    def close(self) -> None:
        """Take no other request than those that have come."""
        super().close()
        self._is_leaving = True

    def take_no_more(self) -> None:
        """Let the next answer say that it is the last one."""
        self._is_on_its_last = True

    def hang_up(self) -> None:
        """Close, unless a request is being answered."""
        if self._tool is not None and not self._exchanging and self._plain is None:
            self._tool.close()

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109  (aiohttp's signature)
        """Let a running exchange end within `timeout` seconds, then cut it."""
        task = self._task
        if task is not None:
            await asyncio.wait({task}, timeout=timeout)
            task.cancel()
        await super().shutdown(timeout)

    # Requests.

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request that aiohttp has parsed; what it gets back is told that the answer has been written."""
        self._head_limit.begin_exchange(request.content.is_eof)
        try:
            answer = await self._answer(AiohttpRequest(request, self, self._limits))
        finally:
            self._head_limit.end_exchange()
        return _Written(keep_alive=answer is not None and answer.keep_alive)

    async def _answer(self, request: ClientRequest) -> ClientAnswer | None:
        """Run the exchange; None where the connection was cut."""
        if self._timer is not None:
            self._timer.begin_exchange()
        self._exchanging, self._answer_begun = True, False
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
            self._exchanging = False
            if self._timer is not None:
                self._timer.end_exchange()

    async def _fail(self, request: ClientRequest, fault: Exception) -> ClientAnswer | None:
        """Tell of a fault of the proxy; an answer that has begun is cut, never completed."""
        self.log_exception("Internal error", exc_info=fault)
        if self._answer_begun:
            self.abort()
            return None
        answer = ClientAnswer(request)
        answer.close()
        error = InternalError("The proxy itself failed; its log says where.")
        await answer.send(*outcome(error, accept=request.head.fields.text(b"accept")))
        return answer

    async def _answer_plain(self, request: PlainRequest) -> None:
        answer = await self._answer(request)
        self._task = None
        if self._tool is None or answer is None:
            return
        if self._is_leaving or not answer.keep_alive:
            self._leave(request)
            return
        self._plain = None
        if self._surplus:
            surplus, self._surplus = self._surplus, b""
            self._tool.resume_reading()
            self.data_received(surplus)

    def _more(self, request: PlainRequest, data: bytes) -> None:
        """Bytes while a plain request is answered: the rest of its body, or what follows it."""
        surplus = request.feed(data)
        if self._task is None:
            self._leave(request)
        elif surplus and self._tool is not None:
            self._surplus += surplus
            if len(self._surplus) > SMALL:
                self._tool.pause_reading()

    def _leave(self, request: PlainRequest) -> None:
        """Close when the body is there, or soon: closing before it is read would reset and lose the answer."""
        if self._tool is None:
            return
        if request.is_received:
            self._tool.close()
        elif not self._is_leaving:
            asyncio.get_running_loop().call_later(FAREWELL_SECONDS, self._tool.close)
        self._is_leaving = True

    def _wake(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    # Faults.

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  (it quotes what could not be parsed)
    ) -> web.StreamResponse:
        """Answer what aiohttp refuses; the connection is closed after it."""
        if isinstance(exc, LineTooLong):
            error: ProxyError = FieldsTooLarge("The request line or a header field is longer than 64 KiB.")
        elif isinstance(exc, HttpProcessingError) and status < 500:
            error = BadRequest("The request is not valid HTTP/1.1.")
        else:
            error = InternalError("The proxy itself failed; its log says where.")
            self.log_exception("Internal error", exc_info=exc)
        return _Refusal(ClientAnswer(AiohttpRequest(request, self, self._limits)), error)

    def log_exception(self, *args: object, **kw: object) -> None:
        """Log where a fault happened and of which kind it is; its message may quote patient data."""
        exc = kw.get("exc_info")
        if not isinstance(exc, BaseException):
            exc = sys.exc_info()[1]
        frames = "".join(traceback.format_tb(exc.__traceback__)) if exc else ""
        logger.error("%s: %s\n%s", args[0] if args else "Error", type(exc).__name__, frames)


class _Written(web.StreamResponse):
    """For aiohttp's loop: an answer that has been written."""

    def __init__(self, *, keep_alive: bool) -> None:
        super().__init__()
        self._takes_more = keep_alive

    @property
    def keep_alive(self) -> bool:
        """Whether the connection takes another request."""
        return self._takes_more

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:  # noqa: ARG002
        """Nothing is left to send."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to send."""


class _Refusal(_Written):
    """The answer to what never became an exchange, sent when aiohttp's loop asks for it."""

    def __init__(self, answer: ClientAnswer, error: ProxyError) -> None:
        super().__init__(keep_alive=False)
        self._answer = answer
        self._error = error

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send the error's OperationOutcome."""
        self._answer.close()
        await self._answer.send(*outcome(self._error, accept=request.headers.get("Accept", "")))
        return None
