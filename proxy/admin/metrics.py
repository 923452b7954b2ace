"""What is counted, in Prometheus' text format: no id, no query, no resource type that a tool could invent."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from ..model import FinishedExchange
from .levels import Levels, Measured

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Upper bounds of the latency classes: a cached read takes milliseconds, a large search a minute."""


class Metrics:
    """The counts of one process; `server` is the base URL of the server that they are about."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()

        def counter(name: str, words: str, *labels: str) -> Counter:
            return Counter(f"fhir_auth_proxy_{name}", words, ("server", *labels), registry=self._registry)

        def histogram(name: str, words: str, *labels: str) -> Histogram:
            return Histogram(
                f"fhir_auth_proxy_{name}",
                words,
                ("server", *labels),
                buckets=SECONDS,
                registry=self._registry,
            )

        self._exchanges = counter(
            "exchanges",
            "Exchanges that are over, by FHIR interaction and class of status.",
            "interaction",
            "status",
        )
        self._seconds = histogram(
            "exchange_seconds", "Seconds from a request's head to the end of its answer.", "interaction"
        )
        self._upstream_seconds = histogram(
            "upstream_seconds", "Seconds that an exchange waited for the head of the server's answer."
        )
        self._bytes = counter("sent_bytes", "Bytes of bodies that were sent to tools.")
        self._tokens = counter("tokens", "Different tokens that were obtained.")
        self._failures = counter(
            "sign_in_failures", "Requests for which there was no token, by what went wrong.", "kind"
        )
        self._retries = counter("retries", "Requests that were sent to the server again.")
        self._counted = (
            *(self._exchanges, self._seconds, self._upstream_seconds, self._bytes),
            *(self._tokens, self._failures, self._retries),
        )
        self._levels = Levels()
        self._registry.register(self._levels)

    def exchange(self, server: str, finished: FinishedExchange) -> None:
        """Count an exchange."""
        self._exchanges.labels(server, finished.kind, f"{finished.status // 100}xx").inc()
        self._seconds.labels(server, finished.kind).observe(finished.seconds)
        if finished.upstream_seconds is not None:
            self._upstream_seconds.labels(server).observe(finished.upstream_seconds)
        self._bytes.labels(server).inc(finished.sent_bytes)
        self._retries.labels(server).inc(max(0, finished.attempts - 1))

    def token(self, server: str) -> None:
        """Count a token that is used for the first time."""
        self._tokens.labels(server).inc()

    def failure(self, server: str, kind: str) -> None:
        """Count a request for which there was no token."""
        self._failures.labels(server, kind).inc()

    def measure(self, measured: Measured) -> None:
        """Read this one's levels whenever the metrics are asked for."""
        self._levels.measured.append(measured)

    def forget(self, measured: Measured) -> None:
        """Read them no more."""
        self._levels.measured.remove(measured)
        self.tidy()

    def tidy(self) -> None:
        """Drop the counts of servers that nobody serves any more."""
        served = {measured.server for measured in self._levels.measured}
        for metric in self._counted:
            counted = {sample.labels["server"] for family in metric.collect() for sample in family.samples}
            for server in counted - served:
                metric.remove_by_labels({"server": server})

    def text(self) -> bytes:
        """Everything, in the text format 0.0.4, which every scraper reads."""
        return generate_latest(self._registry)
