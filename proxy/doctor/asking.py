"""One question to a server and the whole of its answer, over the same leg as the proxy's requests."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime

from .. import __version__
from ..auth import Clock
from ..auth.answers import cleaned
from ..config import ServerConfig
from ..errors import UpstreamProtocolError
from ..model import BaseUrl, Credentials, Fields, RequestHead, ResponseHead
from ..upstream import Timeouts, Upstream, chunks, tls_context, tunnel_for

LARGEST_ANSWER = 32 * 1024 * 1024
"""Bytes of an answer that are read; the largest CapabilityStatements, with all profiles, have some 10 MB."""

LONGEST_SILENCE = 30.0
"""Seconds that the doctor waits for an answer; the proxy itself waits for `read_timeout`."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with its body, and the Unix seconds between which the server wrote it."""

    head: ResponseHead
    body: bytes = field(repr=False)
    asked_at: float
    answered_at: float

    def object(self) -> Mapping[str, object]:
        """The body's JSON object; empty where it is none."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}

    def diagnostics(self) -> str:
        """What the first issue of an OperationOutcome says, cleaned; empty for any other body."""
        issues = self.object().get("issue")
        first = issues[0] if isinstance(issues, list) and issues else {}
        text = first.get("diagnostics") if isinstance(first, dict) else ""
        return cleaned(text) if isinstance(text, str) else ""

    def skew(self) -> float | None:
        """Seconds by which the server's clock is ahead of ours; None where it does not tell the time.

        A `Date` within the exchange, or less than a second from it, is no skew: it counts whole seconds.
        """
        try:
            # HTTP's dates are in UTC whatever they say (RFC 9110 section 5.6.7).
            date = parsedate_to_datetime(self.head.fields.text(b"date")).replace(tzinfo=UTC).timestamp()
        except (ValueError, OverflowError):
            return None
        if date > self.answered_at:
            return date - self.answered_at
        return min(0.0, date + 1 - self.asked_at)


def connections(config: ServerConfig) -> Upstream:
    """The leg to the server as the settings have it; ConfigError where they cannot work."""
    base = config.base_url
    return Upstream(
        base,
        tls=tls_context(config.ca_bundle) if base.scheme == "https" else None,
        tunnel=tunnel_for(base, os.environ),
        timeouts=timeouts(config),
    )


def timeouts(config: ServerConfig) -> Timeouts:
    """Those of the settings, as far as a person has the patience."""
    return Timeouts(connect=config.connect_timeout, read=min(config.read_timeout, LONGEST_SILENCE))


def request(
    base: BaseUrl,
    path: str,
    credentials: Credentials | None = None,
    *,
    host: str = "",
) -> RequestHead:
    """A FHIR read of a path below the base; `host` stands in the Host field in place of the base's own."""
    fields = Fields.of(
        [
            ("Host", host or base.authority),
            ("Accept", "application/fhir+json"),
            ("Accept-Encoding", "identity"),
            ("User-Agent", f"fhir-auth-proxy/{__version__} doctor"),
        ]
    )
    if credentials is not None:
        fields = fields.adding((b"Authorization", credentials.authorization))
    return RequestHead("GET", f"{base.path}/{path}".encode("ascii"), fields)


async def ask(upstream: Upstream, head: RequestHead, clock: Clock) -> Reply:
    """Send a request without a body and read its answer; raises what `Upstream.send` raises."""
    asked_at = clock.time()
    answer = await upstream.send(head)
    answered_at = clock.time()
    body = bytearray()
    try:
        async for piece in chunks(answer):
            body += piece
            if len(body) > LARGEST_ANSWER:
                raise UpstreamProtocolError(
                    f"The answer has more than {LARGEST_ANSWER // 2**20} MiB.",
                    hint="Check that the base URL is that of a FHIR server.",
                )
    finally:
        answer.close()
    return Reply(answer.head, bytes(body), asked_at, answered_at)


async def ask_server(config: ServerConfig, head: RequestHead, clock: Clock) -> Reply:
    """Ask the configured server, over a connection of this question's own."""
    upstream = connections(config)
    try:
        return await ask(upstream, head, clock)
    finally:
        await upstream.close()
