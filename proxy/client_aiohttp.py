"""Requests of tools that are not plain, on aiohttp's server; loaded when the first one comes.

aiohttp parses, bounds and orders them. Their exchanges are run by the ClientConnection that they came on, which also
writes the answers: aiohttp's loop is told that they have been written.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import http_parser, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from .client import ClientAnswer, Outlet
from .client_connection import ClientConnection, log_fault
from .client_exchanges import answer_parsed
from .client_limits import ClientLimits, without_c_parser
from .client_upload import upload_stopped
from .errors import BadRequest, FieldsTooLarge, InternalError, ProxyError
from .model import Fields, RequestHead
from .rules.outcome import outcome

PARSER_LIMIT = 64 * 1024
"""Bytes of a request line or field line that are parsed at all; the guards refuse less, in FHIR's terms."""

MAX_FIELDS = 256
"""Field lines of a request: twice aiohttp's default, since tools behind gateways send many."""

NEVER = 10 * 365 * 86400.0
"""Seconds of aiohttp's own limit of an idle connection: SilenceTimer has ours."""


class AiohttpServer:
    """aiohttp's server for the connections of one listener; ConfigError where it would parse in Python."""

    def __init__(self) -> None:
        if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
            raise without_c_parser()
        self._server = web.Server(_answered, handler_cancellation=True)

    def parser(
        self, connection: ClientConnection, transport: asyncio.Transport, limits: ClientLimits
    ) -> AiohttpParser:
        """What parses the requests of a connection from now on."""
        parser = AiohttpParser(self._server, connection, limits)
        parser.connection_made(transport)
        return parser


class AiohttpParser(web.RequestHandler):
    """The aiohttp side of a connection; what cannot be parsed is answered in FHIR's terms, and never logged."""

    __slots__ = ("client_limits", "outlet")

    def __init__(self, server: web.Server, connection: ClientConnection, limits: ClientLimits) -> None:
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
        self.outlet = connection
        self.client_limits = limits

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request that has been parsed."""
        parsed = AiohttpRequest(request, self.outlet, self.client_limits)
        takes_more = await answer_parsed(self.outlet, parsed, request.content.is_eof)
        return _Written(keep_alive=takes_more)

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
            log_fault(exc)
        return _Refusal(ClientAnswer(AiohttpRequest(request, self.outlet, self.client_limits)), error)

    def log_exception(self, *args: object, **kw: object) -> None:  # noqa: ARG002  (they quote what came)
        """Log a fault of aiohttp's loop."""
        exc = kw.get("exc_info")
        log_fault(exc if isinstance(exc, BaseException) else None)


async def _answered(request: web.BaseRequest) -> web.StreamResponse:
    parser = request.protocol
    if not isinstance(parser, AiohttpParser):
        raise TypeError("the request came on no connection of a tool")
    return await parser.answer(request)


def request_head(request: web.BaseRequest) -> RequestHead:
    """The head of a request that aiohttp has parsed, as it came."""
    target = request.raw_path.encode("utf-8", "surrogateescape")
    version = (request.version.major, request.version.minor)
    return RequestHead(
        request.method, target, Fields(tuple(request.raw_headers)), request.body_exists, version
    )


class AiohttpRequest:
    """A ClientRequest that aiohttp has parsed."""

    __slots__ = ("_content", "_limits", "_request", "head", "outlet")

    def __init__(self, request: web.BaseRequest, outlet: Outlet, limits: ClientLimits) -> None:
        self._request = request
        self._content = request.content
        self._limits = limits
        self.head = request_head(request)
        self.outlet = outlet

    @property
    def keep_alive(self) -> bool:
        """Whether the tool may send another request on the connection."""
        return self._request.keep_alive

    @property
    def content_length(self) -> int | None:
        """Bytes of the body where the head tells them."""
        return self._request.content_length

    @property
    def received_bytes(self) -> int:
        """Bytes of the body that have come."""
        return self._content.total_bytes

    @property
    def is_read(self) -> bool:
        """Whether all of the body has been taken."""
        return self._content.is_eof()

    @property
    def whole_body(self) -> bytes | None:
        """None: the body is aiohttp's to give."""
        return None

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes."""
        expect = self._request.headers.get("Expect", "")
        if expect.lower() == "100-continue" and not self._content.total_bytes:
            self.outlet.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            while piece := await self._piece():
                yield piece
        except web.RequestPayloadError as exc:
            raise BadRequest("The request's body breaks off or breaks its framing.") from exc

    async def _piece(self) -> bytes:
        try:
            async with asyncio.timeout(self._limits.upload):
                return await self._content.readany()
        except TimeoutError:
            raise upload_stopped(self._limits) from None


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
        self._answer.send(*outcome(self._error, accept=request.headers.get("Accept", "")))
        return None
