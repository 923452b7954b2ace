"""The FHIR server on a socket: what arrives becomes a call, its reply goes out."""

from __future__ import annotations

import gzip
import ssl
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from urllib.parse import unquote

from aiohttp import web

from .access import Access, Verifier
from .calls import Call, Reply
from .export import Destination
from .faults import Answer, Cut, Fault, RejectToken
from .outcome import FhirError
from .paging import Paging
from .patients import EPOCH, population
from .service import Service, refusal
from .spellings import SPELLINGS, Links, query_pairs
from .store import Store, utc_now

LARGEST_BODY = 30_000_000
"""Bytes of a request body; the default of Kestrel, under which Microsoft's server runs."""
LARGEST_LINE = 65_536
"""Bytes of the request line and of one field; above the 32 KiB that searches with many ids reach."""
RECORDS_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Record:
    """A request that was answered; whether it had a token, but not the token."""

    method: str
    target: str
    status: int
    authorized: bool
    fields: tuple[str, ...]


class FhirServer:
    """A FHIR R4 server with synthetic patients.

    `verify` is called with a token and the audience and returns its claims, or raises one of `refusals`
    with the reason; None is an open server. `audience` "" stands for the base URL, `role` "" for any app.
    `spelling` is a key of SPELLINGS, `alias` the base that the spelling "alias" writes. `export_to` keeps the
    files of exports, None keeps them here. `faults` are used up one by one by the requests that come.
    """

    def __init__(
        self,
        verify: Verifier | None = None,
        *,
        authority: str = "",
        audience: str = "",
        role: str = "",
        refusals: tuple[type[Exception], ...] = (ValueError,),
        patients: int = 300,
        base_path: str = "",
        spelling: str = "plain",
        alias: str = "",
        compress: bool = True,
        continuation_size: int = 0,
        export_polls: int = 1,
        export_to: Destination | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.base_url = ""
        self.requests: list[Record] = []
        self.faults: deque[Fault] = deque()
        self.spelling = SPELLINGS[spelling]
        self.access = Access(verify, authority, audience, role, refusals)
        self._alias = alias
        self._base_path = base_path.rstrip("/")
        self._compress = compress
        self._patients = patients
        self._store = Store(now)
        self._service = Service(self._store, self.access, Paging(continuation_size), export_polls, export_to)
        self._scheme = "http"
        self._runner: web.AppRunner | None = None

    async def start(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
        *,
        name: str = "",
    ) -> None:
        """Listen and make the patients; `base_url` is written with `name`, or else with `host`."""
        application = web.Application(client_max_size=LARGEST_BODY)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            application,
            access_log=None,
            shutdown_timeout=1,
            max_line_size=LARGEST_LINE,
            max_field_size=LARGEST_LINE,
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, ssl_context=ssl_context).start()
        bound = self._runner.addresses[0][1]
        self._scheme = "https" if ssl_context else "http"
        self.base_url = f"{self._scheme}://{name or host}:{bound}{self._base_path}"
        self.access.audience = self.access.audience or self.base_url
        for seconds, resource in enumerate(population(self._patients, self.base_url)):
            self._store.write(resource, str(resource["id"]), moment=EPOCH + timedelta(seconds=seconds))

    async def close(self) -> None:
        """Stop listening and close the connections."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def stored(self, type_: str, id_: str) -> str:
        """Return the JSON text of the current version as it is stored, or raise FhirError 404 or 410."""
        return self._store.read(type_, id_).text

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        fault = self.faults.popleft() if self.faults else None
        reply = await self._reply(request, fault)
        record = Record(
            request.method,
            request.raw_path,
            reply.status,
            "Authorization" in request.headers,
            tuple(request.headers.keys()),
        )
        self.requests.append(record)
        del self.requests[:-RECORDS_KEPT]
        response = self._response(request, reply)
        return await cut(request, response, fault) if isinstance(fault, Cut) else response

    async def _reply(self, request: web.Request, fault: Fault | None) -> Reply:
        raw_path, _, query = request.raw_path.partition("?")
        path = unquote(raw_path)
        if path != self._base_path and not path.startswith(f"{self._base_path}/"):
            return Reply(404)
        links = Links(f"{self._scheme}://{request.host}{self._base_path}", self.spelling, self._alias)
        below = path.removeprefix(self._base_path).strip("/")
        call = Call(request.method, below, query_pairs(query), request.headers, b"", links)
        try:
            # As with ASP.NET, who may not come in is told so before the body is read.
            self._service.admit(call)
            if isinstance(fault, RejectToken):
                raise self.access.challenge(fault.reason)
        except FhirError as error:
            return refusal(call, error)
        if isinstance(fault, Answer):
            return Reply(fault.status, fault.fields, fault.body)
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return refusal(call, FhirError(413, "too-long", f"The body is larger than {LARGEST_BODY} bytes."))
        return self._service.answer(replace(call, body=body))

    def _response(self, request: web.Request, reply: Reply) -> web.Response:
        response = web.Response(status=reply.status, body=reply.body)
        response.headers.popall("Content-Type", None)
        for name, value in reply.fields:
            response.headers.add(name, value)
        response.headers.setdefault("X-Request-Id", str(uuid.uuid4()))
        if "X-Request-Id" in request.headers:
            response.headers["X-Correlation-Id"] = request.headers["X-Request-Id"]
        if self._compress and reply.body and "Content-Encoding" not in response.headers:
            response.headers["Vary"] = "Accept-Encoding"
            if accepts_gzip(request.headers.get("Accept-Encoding", "")):
                response.headers["Content-Encoding"] = "gzip"
                response.body = gzip.compress(reply.body, 6, mtime=0)
        return response


def accepts_gzip(text: str) -> bool:
    """Whether an Accept-Encoding field (RFC 9110, section 12.5.3) allows gzip."""
    weights = {}
    for part in text.lower().split(","):
        coding, _, weight = part.partition(";")
        weights[coding.strip()] = weight.strip().removeprefix("q=") or "1"
    return weights.get("gzip", weights.get("*", "0")).strip("0.") != ""


async def cut(request: web.Request, response: web.Response, fault: Cut) -> web.StreamResponse:
    """Send the head of a response and a part of its body, then close the connection."""
    body = bytes(response.body) if isinstance(response.body, bytes | bytearray) else b""
    partial = web.StreamResponse(status=response.status, headers=response.headers)
    partial.content_length = len(body)
    await partial.prepare(request)
    if fault.after:
        await partial.write(body[: fault.after])
    if request.transport is not None:
        request.transport.close()
    return partial
