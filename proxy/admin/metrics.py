"""What is counted, in Prometheus' text format: no id, no query, no resource type that a tool could invent."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from ..model import FinishedExchange

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Upper bounds of the latency classes: a cached read takes milliseconds, a large search a minute."""

REFUSED = "refused"
"""The interaction of a request that the guards did not let in."""


class _Durations:
    """A histogram of seconds."""

    __slots__ = ("_counts", "_sum")

    def __init__(self) -> None:
        self._counts = [0] * (len(SECONDS) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(SECONDS, seconds)] += 1
        self._sum += seconds

    def describe(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        bounds = [*map(floatToGoString, SECONDS), "+Inf"]
        buckets = list(zip(bounds, map(float, accumulate(self._counts)), strict=True))
        family.add_metric(labels, buckets, self._sum)


class _Exchanges(Collector):
    """The counts that every exchange adds to: plain numbers, made into Prometheus' objects when asked for."""

    def __init__(self) -> None:
        self._by_status: defaultdict[tuple[str, str, int], int] = defaultdict(int)
        self._seconds: defaultdict[tuple[str, str], _Durations] = defaultdict(_Durations)
        self._upstream_seconds: defaultdict[str, _Durations] = defaultdict(_Durations)
        self._bytes: defaultdict[str, int] = defaultdict(int)

    def count(self, server: str, finished: FinishedExchange) -> None:
        """Count an exchange."""
        interaction = str(finished.classified.interaction) if finished.classified else REFUSED
        self._by_status[server, interaction, finished.status // 100] += 1
        self._seconds[server, interaction].add(finished.seconds)
        if finished.upstream_seconds is not None:
            self._upstream_seconds[server].add(finished.upstream_seconds)
        self._bytes[server] += finished.sent_bytes

    def collect(self) -> Iterator[Metric]:
        """All of them."""
        exchanges = CounterMetricFamily(
            "fhir_auth_proxy_exchanges",
            "Exchanges that are over, by FHIR interaction and class of status.",
            labels=("server", "interaction", "status"),
        )
        for (server, interaction, status), number in self._by_status.items():
            exchanges.add_metric((server, interaction, f"{status}xx"), number)
        yield exchanges
        seconds = HistogramMetricFamily(
            "fhir_auth_proxy_exchange_seconds",
            "Seconds from a request's head to the end of its answer.",
            labels=("server", "interaction"),
        )
        for labels, durations in self._seconds.items():
            durations.describe(seconds, labels)
        yield seconds
        upstream = HistogramMetricFamily(
            "fhir_auth_proxy_upstream_seconds",
            "Seconds that an exchange waited for the head of the server's answer.",
            labels=("server",),
        )
        for server, durations in self._upstream_seconds.items():
            durations.describe(upstream, (server,))
        yield upstream
        sent = CounterMetricFamily(
            "fhir_auth_proxy_sent_bytes", "Bytes of bodies that were sent to tools.", labels=("server",)
        )
        for server, size in self._bytes.items():
            sent.add_metric((server,), size)
        yield sent


class Metrics:
    """The counts of one process; `server` is the base URL of the server that they are about."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()

        def counter(name: str, words: str, *labels: str) -> Counter:
            return Counter(f"fhir_auth_proxy_{name}", words, ("server", *labels), registry=self._registry)

        def gauge(name: str, words: str) -> Gauge:
            return Gauge(f"fhir_auth_proxy_{name}", words, ("server",), registry=self._registry)

        self._exchanges = _Exchanges()
        self._registry.register(self._exchanges)
        self._tokens = counter("tokens", "Different tokens that were obtained.")
        self._failures = counter(
            "sign_in_failures", "Requests for which there was no token, by what went wrong.", "kind"
        )
        self._token_seconds = gauge(
            "token_seconds_to_expiry", "Seconds until the token in use expires; NaN where that is not known."
        )
        self._client_connections = gauge("client_connections", "Connections of tools that are open.")
        self._upstream_connections = gauge("upstream_connections", "Connections to the server that are open.")

    def exchange(self, server: str, finished: FinishedExchange) -> None:
        """Count an exchange."""
        self._exchanges.count(server, finished)

    def token(self, server: str) -> None:
        """Count a token that is used for the first time."""
        self._tokens.labels(server).inc()

    def failure(self, server: str, kind: str) -> None:
        """Count a request for which there was no token."""
        self._failures.labels(server, kind).inc()

    def measure(
        self,
        server: str,
        *,
        token_seconds: Callable[[], float],
        client_connections: Callable[[], float],
        upstream_connections: Callable[[], float],
    ) -> None:
        """Read these whenever the metrics are asked for."""
        self._token_seconds.labels(server).set_function(token_seconds)
        self._client_connections.labels(server).set_function(client_connections)
        self._upstream_connections.labels(server).set_function(upstream_connections)

    def text(self) -> bytes:
        """Everything, in the text format 0.0.4, which every scraper reads."""
        return generate_latest(self._registry)
