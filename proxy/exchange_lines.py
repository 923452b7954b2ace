"""The log's line for an exchange that went well, as text and as JSON: what logging's general way makes of it.

Fixed words, numbers, and an id that is plain: no id of a resource, no query, no body; they are patient data.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from .model import FinishedExchange

LOGGER: Final = "proxy.forwarding"
"""The name by which these lines have always been found, in JSON too."""

MESSAGE: Final = "%s %d %dB %.0fms%s (in=%dB attempts=%d id=%s server=%s)"
"""The words, for `message_args`."""


def is_plain(exchange: FinishedExchange) -> bool:
    """Whether all of its line is printable ASCII that needs no escape in JSON and holds no token.

    Servers and accounts are host names in lower case, interactions match `rules.interactions`. A tool's own
    id may have the looks of a token, or end as the word before one does, Bearer or Basic.
    """
    request_id = exchange.request_id
    return exchange.failed is None and "eyJ" not in request_id and request_id[-1:] not in "cCrR"


def text_line(exchange: FinishedExchange, server: str, created: float) -> str:
    """The line of a plain exchange for people, that ended at `created` (Unix seconds)."""
    return f"{clock_time(int(created))} INFO    {_message(exchange, server)}"


def json_line(exchange: FinishedExchange, server: str, created: float) -> str:
    """The same as one object, for machines: what `json.dumps` makes of it."""
    return (
        f'{{"time": "{utc_time(created)}", "level": "info", "logger": "{LOGGER}", '
        f'"message": "{_message(exchange, server)}", "server": "{server}", '
        f'"interaction": "{exchange.classified or exchange.kind}", "status": {exchange.status}, '
        f'"bytes_in": {exchange.received_bytes}, "bytes_out": {exchange.sent_bytes}, '
        f'"milliseconds": {round(exchange.seconds * 1000, 1)}, "attempts": {exchange.attempts}, '
        f'"request_id": "{exchange.request_id}"}}'
    )


def message_args(exchange: FinishedExchange, server: str) -> tuple[str | int | float, ...]:
    """What stands in MESSAGE."""
    failed = exchange.failed
    return (
        str(exchange.classified or exchange.kind),
        exchange.status,
        exchange.sent_bytes,
        exchange.seconds * 1000,
        "" if failed is None else f": {failed.message}",
        exchange.received_bytes,
        exchange.attempts,
        exchange.request_id,
        server,
    )


def _message(exchange: FinishedExchange, server: str) -> str:
    return MESSAGE % message_args(exchange, server)


@lru_cache(maxsize=1)
def clock_time(second: int) -> str:
    """Hours, minutes and seconds where this machine is."""
    return time.strftime("%H:%M:%S", time.localtime(second))


@lru_cache(maxsize=1)
def _utc_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def utc_time(created: float) -> str:
    """RFC 3339 with milliseconds, cut from microseconds as `datetime` has them."""
    second = int(created)
    microsecond = round((created - second) * 1e6)
    if microsecond == 1_000_000:
        second, microsecond = second + 1, 0
    return f"{_utc_second(second)}.{microsecond // 1000:03d}+00:00"
