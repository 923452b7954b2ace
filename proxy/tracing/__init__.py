"""Traces of exchanges for OpenTelemetry: an optional extra, of which nothing is imported before it is asked for.

`spans` makes spans of what happens to an exchange, `collector` delivers them. A trace tells what was asked in
FHIR's own words, how it ended and where the time went; never a URL, an id, a field, a body or who has signed in.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from ..config import Config
from ..errors import ConfigError
from ..sites import Site

__all__ = ["Tracing", "tracing"]


class Tracing(Protocol):
    """The traces of a process."""

    def start(self) -> None:
        """Begin to deliver; ConfigError where OpenTelemetry's variables cannot work."""

    def traced(self, site: Site) -> Site:
        """A site whose exchanges are traced."""

    async def stop(self, seconds: float, cut: asyncio.Event) -> None:
        """Deliver what there is, about within so many seconds and not longer than until `cut`, and nothing more."""


def tracing(config: Config) -> Tracing | None:
    """What the settings ask for, None for no traces; ConfigError where the extra is not installed."""
    if config.traces == "off":
        return None
    try:
        from .collector import OtlpTracing  # noqa: PLC0415  an optional extra, and it takes 0.3 s
    except ImportError:
        raise ConfigError(
            'traces = "otlp" needs OpenTelemetry\'s SDK, which is not installed.',
            hint="Install it beside the proxy: pip install 'fhir-auth-proxy[otel]' (pipx inject fhir-auth-proxy "
            "opentelemetry-sdk opentelemetry-exporter-otlp-proto-http, where pipx installed it).",
        ) from None
    return OtlpTracing()
