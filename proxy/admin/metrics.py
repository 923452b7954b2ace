"""What is counted, in Prometheus' text format: no id, no query, no resource type that a tool could invent."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from ..model import FinishedExchange
from .exchange_counts import ExchangeCounts
from .levels import Levels, Measured

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Metrics:
    """The counts of one process; `server` is the base URL of the server that they are about."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()

        def counter(name: str, words: str, *labels: str) -> Counter:
            return Counter(f"fhir_auth_proxy_{name}", words, ("server", *labels), registry=self._registry)

        self._exchanges = ExchangeCounts()
        self._registry.register(self._exchanges)
        self._tokens = counter("tokens", "Different tokens that were obtained.")
        self._failures = counter(
            "sign_in_failures", "Requests for which there was no token, by what went wrong.", "kind"
        )
        self._levels = Levels()
        self._registry.register(self._levels)

    def exchange(self, server: str, finished: FinishedExchange) -> None:
        """Count an exchange."""
        self._exchanges.count(server, finished)

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
        self._exchanges.keep(served)
        for metric in (self._tokens, self._failures):
            counted = {sample.labels["server"] for family in metric.collect() for sample in family.samples}
            for server in counted - served:
                metric.remove_by_labels({"server": server})

    def text(self) -> bytes:
        """Everything, in the text format 0.0.4, which every scraper reads."""
        return generate_latest(self._registry)
