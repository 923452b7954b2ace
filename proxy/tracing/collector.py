"""The way of spans to a collector: in batches, by OTLP over HTTP, in a thread of its own.

Where it leads, with which headers and how often is said by OpenTelemetry's own environment variables, which its SDK
reads. A collector that is down or slow costs spans and one warning, never a request.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.environment_variables import (
    OTEL_EXPORTER_OTLP_ENDPOINT,
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
)
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from requests import Response

from .. import __version__
from ..auth.http import TrustingAdapter, proxies
from ..auth.threads import in_thread
from ..errors import ConfigError
from ..sites import Site
from ..trust import trust
from .spans import SiteTracer

logger = logging.getLogger(__name__)

NAME = "fhir-auth-proxy"

DEFAULT_ENDPOINT = "http://localhost:4318"
"""Where a collector of the same machine listens, by OpenTelemetry's specification."""

LONGEST_DELIVERY = 5.0
"""Seconds at a stop for what has not gone out yet: many batches for a collector that answers."""

LAST_TRY = 1.0
"""Seconds for it where the last exchanges have left no time, or the collector has not taken the batch before."""


class OtlpTracing:
    """Traces that go to a collector. ConfigError where its address is none."""

    def __init__(self) -> None:
        self._exporter = _Exporter(_endpoint())
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._tracer = self._provider.get_tracer(NAME, __version__)

    def start(self) -> None:
        """Begin to deliver."""
        try:
            self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        except ValueError as error:
            raise ConfigError(f"OpenTelemetry's variables OTEL_BSP_* cannot work: {error}.") from None
        # From now on it would speak for each batch and each span, in words that a collector sent.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)

    def traced(self, site: Site) -> Site:
        """A site whose exchanges are traced."""
        return replace(site, watched=SiteTracer(self._tracer, site))

    async def stop(self, seconds: float, cut: asyncio.Event) -> None:
        """Deliver what there is, about within so many seconds and not longer than until `cut`, and nothing more."""
        longest = LAST_TRY if self._exporter.is_down else max(LAST_TRY, min(seconds, LONGEST_DELIVERY))
        delivery = asyncio.ensure_future(in_thread(self._provider.shutdown))
        waits = {delivery, asyncio.ensure_future(cut.wait())}
        _, pending = await asyncio.wait(waits, timeout=longest, return_when=asyncio.FIRST_COMPLETED)
        for wait in pending:
            wait.cancel()
        if delivery in pending:
            self._exporter.give_up()


class _Exporter(SpanExporter):
    """OpenTelemetry's exporter, with one warning for each time that the collector is out of reach."""

    def __init__(self, endpoint: str) -> None:
        session = requests.Session()
        session.trust_env = False  # no .netrc; the certificates that count are named below
        session.proxies = dict(proxies(endpoint)) if endpoint.startswith("https:") else {}
        session.hooks["response"] = [self._answered]
        self._inner: SpanExporter = OTLPSpanExporter(endpoint=endpoint, session=session)
        if session.verify is True and session.cert is None:
            # OpenTelemetry's variables name no certificate: the collector is trusted as all others are.
            session.mount("https://", TrustingAdapter(trust("", os.environ)))
        self._origin = _origin(endpoint)
        self._answer = ""
        self.is_down = False
        """Whether the latest batch was lost."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Deliver a batch, or lose it."""
        self._answer = ""
        result = self._inner.export(spans)
        was_down, self.is_down = self.is_down, result is not SpanExportResult.SUCCESS
        if self.is_down and not was_down:
            self._warn()
        elif was_down and not self.is_down:
            logger.info("The collector at %s takes traces again.", self._origin)
        return result

    def shutdown(self) -> None:
        """Close what is open, and wait for no other try."""
        self._inner.shutdown()

    def give_up(self) -> None:
        """Wait for the collector no longer; what it has not taken is lost."""
        if not self.is_down:
            self.is_down = True
            self._warn()
        self._inner.shutdown()

    def _answered(self, response: Response, **_: object) -> None:
        self._answer = f"answers {response.status_code}"

    def _warn(self) -> None:
        answer = self._answer or "cannot be reached, or does not answer"
        logger.warning("Traces are lost: the collector at %s %s.", self._origin, answer)


def _resource() -> Resource:
    """What all spans are about: this program, under the name that OTEL_SERVICE_NAME gives it, if any."""
    named = OTELResourceDetector().detect().attributes
    own = {"service.name": NAME, "service.version": __version__}
    return Resource.create({key: value for key, value in own.items() if key not in named})


def _endpoint() -> str:
    """Where traces go (OpenTelemetry's specification of the OTLP exporter); ConfigError for what is no address."""
    name = OTEL_EXPORTER_OTLP_TRACES_ENDPOINT
    endpoint = os.environ.get(name, "")
    if not endpoint:
        name = OTEL_EXPORTER_OTLP_ENDPOINT
        endpoint = f"{(os.environ.get(name) or DEFAULT_ENDPOINT).removesuffix('/')}/v1/traces"
    if not _origin(endpoint):
        raise ConfigError(
            f"{name} is not the address of a collector.",
            hint=f"Write it with its scheme, such as {DEFAULT_ENDPOINT}.",
        )
    return endpoint


def _origin(url: str) -> str:
    """Scheme, host and port, since a path or a user name may hold a key; empty for what is no HTTP address."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return ""
    if parts.scheme not in {"http", "https"} or not host:
        return ""
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}:{port}" if port else f"{parts.scheme}://{host}"
