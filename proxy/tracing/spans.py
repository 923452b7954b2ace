"""Exchanges as spans: one for the exchange, one for each attempt, one for a sign-in that it waited for.

Names and attributes are those of OpenTelemetry's semantic conventions for HTTP, less all that could name a patient
(`url.*`, `client.*`, `user_agent.*`), and with FHIR's interaction in place of a route.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ..auth import Authenticator
from ..errors import ProxyError
from ..model import BaseUrl, Credentials, Fields, FinishedExchange, Rejection, RequestHead
from ..passage import CLIENT_LEFT
from ..rules.vocabulary import in_own_words
from ..sites import Observer, Sender, Site, nothing_held
from ..upstream import Answer, Sending

Attributes = Mapping[str, str | int | bool]

METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
"""Those that are named; a tool may invent others."""

TRACEPARENT = b"traceparent"
TRACESTATE = b"tracestate"

W3C = TraceContextTextMapPropagator()


class SiteTracer:
    """Begins the trace of each exchange of a site."""

    def __init__(self, tracer: Tracer, site: Site) -> None:
        self._tracer = tracer
        self._site = site
        config = site.rules.config
        listen = config.listen
        self._listener: Attributes = {"url.scheme": "http", "server.address": listen.host}
        if listen.port:
            self._listener = {**self._listener, "server.port": listen.port}
        self._server = _address(config.base_url)
        self._accounts = {account: _address(BaseUrl.parse(f"https://{account}")) for account in site.accounts}

    def __call__(self, head: RequestHead) -> Site:
        """The site for one exchange: what it does there ends up in its trace."""
        parent = parent_of(head.fields)
        method = _method(head)
        span = self._tracer.start_span(
            method, parent, SpanKind.SERVER, {**self._listener, "http.request.method": method}
        )
        trace = _Trace(self._tracer, span, is_root=not parent)
        site = self._site
        accounts = {
            account: trace.of(place, self._accounts[account]) for account, place in site.accounts.items()
        }
        observer = _Finish(site.observer, span, site.rules.config.base_url.authority)
        return replace(trace.of(site, self._server), accounts=accounts, observer=observer, watched=None)


def parent_of(fields: Fields) -> Context:
    """The tool's own span as its `traceparent` names it; empty where there is none that can be read.

    Its `tracestate` stays out: it may hold anything, and goes to the server as it came.
    """
    values = fields.get_all(TRACEPARENT)
    if len(values) != 1:
        return Context()
    return W3C.extract({"traceparent": values[0].decode("latin-1")}, Context())


class _Trace:
    """What the steps of one exchange have in common."""

    def __init__(self, tracer: Tracer, span: Span, *, is_root: bool) -> None:
        self._tracer = tracer
        self._context = set_span_in_context(span, Context())
        self._replaced = {TRACEPARENT, TRACESTATE} if is_root else {TRACEPARENT}

    def of(self, site: Site, address: Attributes) -> Site:
        """A place that the exchange may go to, its steps traced."""
        method = site.rules.config.auth
        return replace(
            site,
            authenticator=_SignIn(site.authenticator, self, method),
            held=nothing_held,
            upstream=_Attempts(site.upstream, self, address),
        )

    def child(self, name: str, kind: SpanKind, attributes: Attributes, started: int | None = None) -> Span:
        """A span of a step; `started` in nanoseconds of Unix time, by default now."""
        return self._tracer.start_span(name, self._context, kind, attributes, start_time=started)

    def marked(self, head: RequestHead, span: Span) -> RequestHead:
        """A request that names a span as its parent (W3C Trace Context section 3.2)."""
        carrier: dict[str, str] = {}
        W3C.inject(carrier, set_span_in_context(span, Context()))
        if not carrier:
            return head  # OTEL_SDK_DISABLED: there is no span.
        line = (TRACEPARENT, carrier["traceparent"].encode("ascii"))
        return replace(head, fields=head.fields.without(self._replaced).adding(line))


class _Attempts:
    """A Sender, a span for each request until the head of its answer."""

    def __init__(self, inner: Sender, trace: _Trace, address: Attributes) -> None:
        self._inner = inner
        self._trace = trace
        self._address = address
        self._sent = 0

    async def send(self, head: RequestHead, body: AsyncIterator[bytes] | bytes | None = None) -> Answer:
        method = _method(head)
        attributes = {**self._address, "http.request.method": method}
        if self._sent:
            attributes["http.request.resend_count"] = self._sent
        self._sent += 1
        span = self._trace.child(method, SpanKind.CLIENT, attributes)
        try:
            answer = await self._inner.send(self._trace.marked(head, span), body)
            status = answer.head.status
            span.set_attribute("http.response.status_code", status)
            if status >= 400:
                _fail(span, str(status))
        except BaseException as error:
            _fail(span, _error_type(error))
            raise
        else:
            return answer
        finally:
            span.end()

    def begin(self, head: RequestHead, body: bytes | None = None) -> None:
        """Each request has a span, which waits."""

    async def answer_to(self, sending: Sending) -> Answer:
        return await self._inner.answer_to(sending)

    def warm(self) -> None:
        self._inner.warm()


class _SignIn:
    """An Authenticator; where the exchange has to wait for credentials, that is a span."""

    def __init__(self, inner: Authenticator, trace: _Trace, method: str) -> None:
        self._inner = inner
        self._trace = trace
        self._method = method

    async def credentials(self, rejected: Rejection | None = None) -> Credentials | None:
        started = time.time_ns()
        waited: list[bool] = []
        # The loop gets to it only if the next line waits: credentials that are held come without.
        mark = asyncio.get_running_loop().call_soon(waited.append, True)
        outcome = ""
        try:
            credentials = await self._inner.credentials(rejected)
        except BaseException as error:
            outcome = _error_type(error)
            raise
        else:
            return credentials
        finally:
            mark.cancel()
            if waited:
                self._tell(started, outcome, is_renewal=rejected is not None)

    async def close(self) -> None:
        await self._inner.close()

    def _tell(self, started: int, outcome: str, *, is_renewal: bool) -> None:
        attributes: Attributes = {
            "fhir_auth_proxy.sign_in.method": self._method,
            "fhir_auth_proxy.sign_in.after_refusal": is_renewal,
        }
        span = self._trace.child("sign-in", SpanKind.INTERNAL, attributes, started)
        if outcome:
            _fail(span, outcome)
        span.end()


class _Finish:
    """An Observer that completes the span of the exchange."""

    def __init__(self, inner: Observer, span: Span, server: str) -> None:
        self._inner = inner
        self._span = span
        self._server = server

    def finished(self, exchange: FinishedExchange) -> None:
        self._inner.finished(exchange)
        span, failed = self._span, exchange.failed
        attributes: dict[str, str | int] = {
            "http.request.body.size": exchange.received_bytes,
            "http.response.body.size": exchange.sent_bytes,
            "fhir_auth_proxy.attempts": exchange.attempts,
            "fhir_auth_proxy.server": exchange.account or self._server,
        }
        name = exchange.kind
        if exchange.classified is not None:
            shown = in_own_words(exchange.classified)
            name = str(shown)
            attributes["fhir.interaction"] = shown.interaction.value
            if shown.resource_type:
                attributes["fhir.resource_type"] = shown.resource_type
            if shown.operation:
                attributes["fhir.operation"] = shown.operation
        if exchange.status != CLIENT_LEFT:
            attributes["http.response.status_code"] = exchange.status
        span.update_name(name)
        span.set_attributes(attributes)
        if failed is not None:
            span.set_attribute("error.type", failed.issue_code)
        elif exchange.status == CLIENT_LEFT:
            span.set_attribute("error.type", "unanswered")
        elif exchange.status >= 500:
            span.set_attribute("error.type", str(exchange.status))
        # By the conventions a 4xx is the caller's matter; an answer that was cut has any status.
        if exchange.status >= 500 or (failed is not None and exchange.status < 400):
            span.set_status(StatusCode.ERROR)
        span.end()


def _method(head: RequestHead) -> str:
    return head.method if head.method in METHODS else "_OTHER"


def _address(base: BaseUrl) -> Attributes:
    return {"server.address": base.host, "server.port": base.port}


def _error_type(error: BaseException) -> str:
    """What a span tells of an error: never its words."""
    if isinstance(error, ProxyError):
        return error.issue_code
    return "cancelled" if isinstance(error, asyncio.CancelledError) else type(error).__name__


def _fail(span: Span, error_type: str) -> None:
    span.set_attribute("error.type", error_type)
    span.set_status(StatusCode.ERROR)
