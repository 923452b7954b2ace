"""The log's line for an exchange, and the record where somebody else than the program's own handler listens.

`ExchangeRecord` is to every handler and formatter a LogRecord like others. It is made of what is the same in all
of them and of the little that is not, since logging's own way to a record looks up much that nobody shows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import time

from .exchange_lines import LOGGER, MESSAGE, is_plain, message_args
from .model import FinishedExchange

logger = logging.getLogger(LOGGER)
_PARENT = logging.getLogger("proxy")

# All that a record of the running Python has. Place, thread and process are those of no exchange.
_SAME = vars(logging.LogRecord(logger.name, logging.INFO, __file__, 0, MESSAGE, None, None))
_SAME |= dict.fromkeys(("thread", "threadName", "process", "processName"))
_BEGINNING: float = _SAME["created"] - _SAME["relativeCreated"] / 1000


class ExchangeRecord(logging.LogRecord):
    """What is logged of an exchange; no id of a resource, no query, no body: they are patient data."""

    # Beside the dictionary of a record, which formatters look into.
    __slots__ = ("exchange", "server")

    def __init__(self, exchange: FinishedExchange, server: str) -> None:
        created = time()
        self.__dict__ = values = _SAME.copy()
        values["created"] = created
        values["msecs"] = created * 1000 // 1 % 1000
        values["relativeCreated"] = (created - _BEGINNING) * 1000
        values["args"] = message_args(exchange, server)
        if exchange.failed is not None:
            values["levelno"] = logging.WARNING
            values["levelname"] = "WARNING"
        self.exchange = exchange
        self.server = server

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


LineOf = Callable[[FinishedExchange, str, float], str]
"""One of `exchange_lines`."""


Write = Callable[[str], None]
"""Writes a line, as that of a record below WARNING."""

_direct: list[tuple[LineOf, logging.Handler, Write]] = []


def write_directly(line_of: LineOf, handler: logging.Handler, write: Write) -> None:
    """Have the lines of exchanges that went well written without a record, which costs several times as much.

    It is done as long as `handler`, to which `write` belongs, alone gets what is logged.
    """
    _direct[:] = [(line_of, handler, write)]


def log_exchange(exchange: FinishedExchange, server: str) -> None:
    """One line for the exchange: a warning where it failed."""
    if not logger.isEnabledFor(logging.INFO if exchange.failed is None else logging.WARNING):
        return
    if _direct and is_plain(exchange):
        line_of, handler, write = _direct[0]
        if logging.root.handlers == [handler] and not (logger.handlers or _PARENT.handlers):
            write(line_of(exchange, server, time()))
            return
    logger.handle(ExchangeRecord(exchange, server))
