"""How much of a request's head is taken in before its end: no more than the guards let pass.

aiohttp bounds the lines of a head and their number, which together come to 16 MiB for each connection.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from .client_limits import say_farewell
from .errors import FieldsTooLarge, ProxyError, TargetTooLong
from .rules.guards import LARGEST_FIELDS, LONGEST_TARGET

LONGEST_LINE: Final = LONGEST_TARGET + 32
"""Bytes of a request line: the longest target, with method and version."""

LARGEST_HEAD: Final = LONGEST_LINE + LARGEST_FIELDS

_END: Final = re.compile(rb"\n\r?\n")
"""The empty line, with bare line feeds too: whatever the parser takes for the end of a head."""
_LONGEST_BEFORE_END: Final = 2


class _State(Enum):
    HEAD = auto()
    """A head is what comes next, or goes on."""
    EXCHANGE = auto()
    """A head is complete; its body follows, then what a tool sends ahead."""
    OVER = auto()
    """Nothing is read any more."""


class HeadLimit:
    """Counts the bytes of a connection's heads; one that is too large is answered and not read to its end."""

    __slots__ = (
        "_ahead",
        "_body_is_whole",
        "_is_paused",
        "_line_has_ended",
        "_size",
        "_state",
        "_tail",
        "_tool",
    )

    def __init__(self, tool: asyncio.Transport) -> None:
        self._tool = tool
        self._state = _State.HEAD
        self._size = 0
        self._line_has_ended = False
        self._tail = b""
        self._body_is_whole: Callable[[], bool] | None = None
        self._ahead = 0
        self._is_paused = False

    def takes(self, data: bytes) -> bool:
        """Whether bytes that have come are to be parsed."""
        if self._state is _State.HEAD:
            error = self._read(data)
            if error is not None:
                self._state = _State.OVER
                say_farewell(self._tool, error)
        elif self._body_is_whole is not None and self._body_is_whole():
            self._wait(data)
        return self._state is not _State.OVER

    def begin_exchange(self, body_is_whole: Callable[[], bool]) -> None:
        """A head has been parsed; tells whether the body behind it has come to its end."""
        self._state = _State.EXCHANGE
        self._body_is_whole = body_is_whole

    def end_exchange(self) -> None:
        """The answer has been written; where the rest of the body still comes, the connection is to be closed."""
        if self._state is _State.EXCHANGE and self._body_is_whole is not None and self._body_is_whole():
            self._state = _State.HEAD
        self._body_is_whole = None
        self._ahead = 0
        if self._is_paused:
            self._is_paused = False
            self._tool.resume_reading()

    def _read(self, data: bytes) -> ProxyError | None:
        end, before = _END.search(self._tail + data), self._size
        self._size += len(data) if end is None else end.end() - len(self._tail)
        self._line_has_ended = self._line_has_ended or 0 <= data.find(b"\n") < LONGEST_LINE - before
        size, line_has_ended = self._size, self._line_has_ended
        if end is None:
            self._tail = (self._tail + data)[-_LONGEST_BEFORE_END:]
        else:
            self._state = _State.EXCHANGE
            self._size, self._line_has_ended, self._tail = 0, False, b""
        if size > LONGEST_LINE and not line_has_ended:
            return TargetTooLong(
                f"The request line has more than {LONGEST_LINE} bytes",
                hint="Send the search as POST [type]/_search.",
            )
        if size > LARGEST_HEAD:
            return FieldsTooLarge(
                f"The head of the request has more than {LARGEST_HEAD} bytes",
                hint="Cookies of other applications on localhost add up; delete them, or send a shorter search.",
            )
        return None

    def _wait(self, data: bytes) -> None:
        """What a tool sends ahead of the answer waits in the system's buffers, where it has a bound."""
        self._ahead += len(data)
        if self._ahead > LARGEST_HEAD and not self._is_paused:
            self._is_paused = True
            self._tool.pause_reading()
