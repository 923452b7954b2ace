"""The log's line for an exchange: fixed words and numbers, and an id that is plain.

`ExchangeRecord` is to every handler and formatter a LogRecord like others. It is made of what is the same in all
of them and of the little that is not, since logging's own way to a record looks up much that nobody shows.
"""

from __future__ import annotations

import logging
from time import time

from .model import FinishedExchange

# The name by which these lines have always been found, in JSON too.
logger = logging.getLogger("proxy.forwarding")

_WORDS = "%s %d %dB %.0fms%s (in=%dB attempts=%d id=%s server=%s)"

# All that a record of the running Python has. Place, thread and process are those of no exchange.
_SAME = vars(logging.LogRecord(logger.name, logging.INFO, __file__, 0, _WORDS, None, None))
_SAME |= dict.fromkeys(("thread", "threadName", "process", "processName"))
_BEGINNING: float = _SAME["created"] - _SAME["relativeCreated"] / 1000


class ExchangeRecord(logging.LogRecord):
    """What is logged of an exchange; no id of a resource, no query, no body: they are patient data."""

    # Beside the dictionary of a record, which formatters look into.
    __slots__ = ("exchange", "server")

    def __init__(self, exchange: FinishedExchange, server: str) -> None:
        created = time()
        failed = exchange.failed
        self.__dict__ = values = _SAME.copy()
        values["created"] = created
        values["msecs"] = created * 1000 // 1 % 1000
        values["relativeCreated"] = (created - _BEGINNING) * 1000
        values["args"] = (
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
        if failed is not None:
            values["levelno"] = logging.WARNING
            values["levelname"] = "WARNING"
        self.exchange = exchange
        self.server = server

    @property
    def is_plain(self) -> bool:
        """Whether all of it is printable ASCII that needs no escape in JSON and holds no token.

        Servers and accounts are host names in lower case, interactions match `rules.interactions`. A tool's own
        id may have the looks of a token, or end as the word before one does, Bearer or Basic.
        """
        request_id = self.exchange.request_id
        return self.exchange.failed is None and "eyJ" not in request_id and request_id[-1:] not in "cCrR"

    @property
    def fields(self) -> dict[str, str | int | float]:
        """The same for machines, by name."""
        exchange = self.exchange
        return {
            "server": self.server,
            "interaction": str(exchange.classified or exchange.kind),
            "status": exchange.status,
            "bytes_in": exchange.received_bytes,
            "bytes_out": exchange.sent_bytes,
            "milliseconds": round(exchange.seconds * 1000, 1),
            "attempts": exchange.attempts,
            "request_id": exchange.request_id,
        }


def log_exchange(exchange: FinishedExchange, server: str) -> None:
    """One line for the exchange: a warning where it failed."""
    if logger.isEnabledFor(logging.INFO if exchange.failed is None else logging.WARNING):
        logger.handle(ExchangeRecord(exchange, server))
