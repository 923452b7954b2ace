"""Logging of the process: one handler on stderr, libraries quiet, no patient data, no token.

Libraries quote in their messages what a peer sent (aiohttp the bytes of a bad field, MSAL an answer it cannot
read), so that of their records only the unformatted words and the kind of the exception are kept, and none below
WARNING whatever our own level is.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import TextIO

from ..exchange_lines import clock_time, json_line, text_line, utc_time
from ..exchange_log import LineOf, write_directly
from .turn_handler import TurnHandler

logger = logging.getLogger(__name__)

OWN = __name__.partition(".")[0]

LIBRARIES = ("aiohttp", "asyncio", "msal", "urllib3")
"""Those that speak of what their caller knows; others from WARNING on."""

DEBUG_SHOWS = (
    "Debugging: shown beside one line for each exchange are new connections to a server, pauses that it asks for, "
    "and the lifetime of new tokens. Not shown, here as ever, are ids of resources, queries, bodies, fields and tokens."
)

# A net below the rule that nothing logs a token: the schemes that carry one, and the start of every JWT, that
# is the base64url of '{"' (RFC 7519 section 3).
_TOKENS = re.compile(r"(?i:bearer|basic) [\w.~+/=-]{20,}|\beyJ[\w-]{8,}(?:\.[\w-]*)*")
# Whoever sends a line feed or an escape sequence writes no log lines of his own with it.
_CONTROLS = MappingProxyType(
    {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)}
)


def tame(record: logging.LogRecord) -> bool:
    """Strip a library's record of what it quotes."""
    if record.name.partition(".")[0] != OWN:
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        record.msg = f"{record.msg} ({kind})" if kind else str(record.msg)
        record.args = None
        record.exc_info = record.exc_text = record.stack_info = None
    return True


def clean(message: str) -> str:
    """A message on one line, without what looks like a token."""
    # Almost no message has to be changed, and to see that is cheap.
    lower = message.lower()
    if "eyj" in lower or "bearer " in lower or "basic " in lower:
        message = _TOKENS.sub("********", message)
    return message if message.isascii() and message.isprintable() else message.translate(_CONTROLS)


class TextFormatter(logging.Formatter):
    """Time, level and message, for people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - logging's name
        """The time of the day."""
        return clock_time(int(record.created))

    def format(self, record: logging.LogRecord) -> str:
        """The line, and below it the traceback where there is one."""
        if record.exc_info or record.exc_text or record.stack_info:
            return super().format(record)
        # What the general way makes of the same, in a third of its time.
        return f"{clock_time(int(record.created))} {record.levelname:<7} {clean(record.getMessage())}"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line without the traceback."""
        record.message = clean(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: logging._SysExcInfoType) -> str:  # noqa: N802 - logging's name
        """The traceback, its tokens masked."""
        return _TOKENS.sub("********", super().formatException(ei))


def _fields(record: logging.LogRecord) -> dict[str, str | int | float]:
    """What a record tells besides its message: of an exchange its status, its bytes and so on."""
    fields = getattr(record, "fields", None) or {}
    return {key: clean(value) if isinstance(value, str) else value for key, value in fields.items()}


class JsonFormatter(logging.Formatter):
    """One JSON object a line, for machines; time in UTC (RFC 3339)."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        fields = {
            "time": utc_time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": clean(record.getMessage()),
            **_fields(record),
        }
        if record.exc_info:
            fields["traceback"] = _TOKENS.sub("********", self.formatException(record.exc_info))
        return json.dumps(fields, ensure_ascii=False)


FORMATTERS = MappingProxyType({"text": TextFormatter, "json": JsonFormatter})
LINES: Mapping[str, LineOf] = MappingProxyType({"text": text_line, "json": json_line})


def set_up_logging(level: str, log_format: str, stream: TextIO | None = None) -> None:
    """Log to stderr, or to another stream: this program from `level` on, everything else from WARNING on."""
    handler = TurnHandler(stream or sys.stderr)
    handler.setFormatter(FORMATTERS[log_format]())
    handler.addFilter(tame)
    # No line shows thread, process, task or place in the code: what a record would hold of them is not looked
    # up (the logging HOWTO of Python, "Optimization").
    logging._srcfile = None  # noqa: SLF001
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    write_directly(LINES[log_format], handler, handler.write)
    root.setLevel(logging.WARNING)
    logging.getLogger("proxy").setLevel(level.upper())
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(logging.ERROR)
    logger.debug(DEBUG_SHOWS)
