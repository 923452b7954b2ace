"""A collector of traces: OTLP over HTTP, as OpenTelemetry's own one takes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

KINDS = {
    Span.SPAN_KIND_SERVER: "server",
    Span.SPAN_KIND_CLIENT: "client",
    Span.SPAN_KIND_INTERNAL: "internal",
}
ERROR = 2


@dataclass(frozen=True)
class Taken:
    """A span as it arrived, ids in hexadecimal."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, object]
    is_error: bool
    nanoseconds: tuple[int, int]


class Collector:
    """What has come; `answers` are the statuses of the first requests, 200 then."""

    def __init__(self, answers: Sequence[int]) -> None:
        self.url = ""
        self.bodies: list[bytes] = []
        self.fields: list[dict[str, str]] = []
        self.resources: list[dict[str, object]] = []
        self.spans: list[Taken] = []
        self._answers = list(answers)
        self._changed = asyncio.Condition()

    async def until_asked(self, times: int) -> None:
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(lambda: len(self.bodies) >= times)

    @property
    def exchanges(self) -> list[Taken]:
        return [span for span in self.spans if span.kind == "server"]

    def steps(self, exchange: Taken) -> list[Taken]:
        """What happened inside an exchange, in order."""
        found = [span for span in self.spans if span.parent_id == exchange.span_id]
        assert {exchange.trace_id} >= {span.trace_id for span in found}
        return sorted(found, key=lambda span: span.nanoseconds)

    async def take(self, request: web.BaseRequest) -> web.Response:
        assert (request.method, request.path) == ("POST", "/v1/traces")
        body = await request.read()
        async with self._changed:
            self.bodies.append(body)
            self.fields.append({name.lower(): value for name, value in request.headers.items()})
            status = self._answers.pop(0) if self._answers else 200
            if status == 200:
                self._read(ExportTraceServiceRequest.FromString(body))
            self._changed.notify_all()
        return web.Response(
            status=status,
            body=ExportTraceServiceResponse().SerializeToString(),
            content_type="application/x-protobuf",
        )

    def _read(self, message: ExportTraceServiceRequest) -> None:
        for resource in message.resource_spans:
            self.resources.append(_attributes(resource.resource.attributes))
            self.spans += [_taken(span) for scope in resource.scope_spans for span in scope.spans]


def _taken(span: Span) -> Taken:
    assert not span.events
    assert not span.links
    return Taken(
        span.name,
        KINDS[span.kind],
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        _attributes(span.attributes),
        span.status.code == ERROR,
        (span.start_time_unix_nano, span.end_time_unix_nano),
    )


def _attributes(pairs: Sequence[KeyValue]) -> dict[str, object]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


@asynccontextmanager
async def otlp_collector(*answers: int) -> AsyncIterator[Collector]:
    collector = Collector(answers)
    runner = web.ServerRunner(web.Server(collector.take))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield collector
    finally:
        await runner.cleanup()
