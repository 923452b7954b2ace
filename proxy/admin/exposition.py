"""What is counted, in Prometheus' text format, made when somebody asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from .exchange_counts import SECONDS, Durations
from .levels import LEVELS, Measured
from .metrics import Metrics

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Exposition(Collector):
    """The counts and levels of one process."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """Everything, in the text format 0.0.4, which every scraper reads."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """One family after the other."""
        yield from self._exchanges()
        yield from self._sign_ins()
        yield from self._levels()

    def _exchanges(self) -> Iterator[Metric]:
        exchanges = _counter(
            "exchanges",
            "Exchanges that are over, by FHIR interaction and class of status.",
            "interaction",
            "status",
        )
        seconds = _histogram(
            "exchange_seconds", "Seconds from a request's head to the end of its answer.", "interaction"
        )
        upstream = _histogram(
            "upstream_seconds", "Seconds that an exchange waited for the head of the server's answer."
        )
        sent = _counter("sent_bytes", "Bytes of bodies that were sent to tools.")
        retries = _counter("retries", "Requests that were sent to the server again.")
        for server, counts in self._metrics.exchanges.servers.items():
            for kind, of_kind in counts.kinds.items():
                for digit, number in enumerate(of_kind.by_class):
                    if number:
                        exchanges.add_metric((server, kind, f"{digit}xx"), number)
                _describe(of_kind.seconds, seconds, (server, kind))
            _describe(counts.upstream_seconds, upstream, (server,))
            sent.add_metric((server,), counts.sent_bytes)
            retries.add_metric((server,), counts.retries)
        yield from (exchanges, seconds, upstream, sent, retries)

    def _sign_ins(self) -> Iterator[Metric]:
        tokens = _counter("tokens", "Different tokens that were obtained.")
        for server, tally in self._metrics.tokens.items():
            tokens.add_metric((server,), tally.number, tally.since)
        failures = _counter(
            "sign_in_failures", "Requests for which there was no token, by what went wrong.", "kind"
        )
        for labels, tally in self._metrics.failures.items():
            failures.add_metric(labels, tally.number, tally.since)
        yield from (tokens, failures)

    def _levels(self) -> Iterator[Metric]:
        by_server: dict[str, list[Measured]] = {}
        for measured in self._metrics.measured:
            by_server.setdefault(measured.server, []).append(measured)
        for level in LEVELS:
            family = GaugeMetricFamily(f"fhir_auth_proxy_{level.name}", level.words, labels=("server",))
            for server, proxies in by_server.items():
                family.add_metric((server,), level.together(map(level.read, proxies)))
            yield family


def _describe(durations: Durations, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
    bounds = [*map(floatToGoString, SECONDS), "+Inf"]
    buckets = list(zip(bounds, map(float, accumulate(durations.counts)), strict=True))
    family.add_metric(labels, buckets, durations.sum)


def _counter(name: str, words: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"fhir_auth_proxy_{name}", words, labels=("server", *labels))


def _histogram(name: str, words: str, *labels: str) -> HistogramMetricFamily:
    return HistogramMetricFamily(f"fhir_auth_proxy_{name}", words, labels=("server", *labels))
