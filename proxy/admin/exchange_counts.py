"""What every exchange adds to: plain numbers, made into Prometheus' objects when somebody asks for them."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from ..model import FinishedExchange

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Upper bounds of the latency classes: a cached read takes milliseconds, a large search a minute."""


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


class _ServerCounts:
    """The exchanges with one server."""

    __slots__ = ("by_status", "retries", "seconds", "sent_bytes", "upstream_seconds")

    def __init__(self) -> None:
        self.by_status: defaultdict[tuple[str, int], int] = defaultdict(int)
        """By kind, and the first digit of the status."""
        self.seconds: defaultdict[str, _Durations] = defaultdict(_Durations)
        self.upstream_seconds = _Durations()
        self.sent_bytes = 0
        self.retries = 0


class ExchangeCounts(Collector):
    """The exchanges of a process, by the base URL of their server."""

    def __init__(self) -> None:
        self._servers: defaultdict[str, _ServerCounts] = defaultdict(_ServerCounts)

    def count(self, server: str, finished: FinishedExchange) -> None:
        """Count an exchange."""
        counts, kind = self._servers[server], finished.kind
        counts.by_status[kind, finished.status // 100] += 1
        counts.seconds[kind].add(finished.seconds)
        if finished.upstream_seconds is not None:
            counts.upstream_seconds.add(finished.upstream_seconds)
        counts.sent_bytes += finished.sent_bytes
        counts.retries += max(0, finished.attempts - 1)

    def keep(self, served: Collection[str]) -> None:
        """Drop what was counted of other servers."""
        for server in self._servers.keys() - set(served):
            del self._servers[server]

    def collect(self) -> Iterator[Metric]:
        """All of them."""
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
        for server, counts in self._servers.items():
            for (kind, status), number in counts.by_status.items():
                exchanges.add_metric((server, kind, f"{status}xx"), number)
            for kind, durations in counts.seconds.items():
                durations.describe(seconds, (server, kind))
            counts.upstream_seconds.describe(upstream, (server,))
            sent.add_metric((server,), counts.sent_bytes)
            retries.add_metric((server,), counts.retries)
        yield from (exchanges, seconds, upstream, sent, retries)


def _counter(name: str, words: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"fhir_auth_proxy_{name}", words, labels=("server", *labels))


def _histogram(name: str, words: str, *labels: str) -> HistogramMetricFamily:
    return HistogramMetricFamily(f"fhir_auth_proxy_{name}", words, labels=("server", *labels))
