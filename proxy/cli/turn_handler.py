"""Lines of the log, written together once in each turn of the event loop.

A write is a system call, and dearer than the rest of a line. What may not wait is written at once, behind what
waits: a warning or worse, and whatever is logged where no loop runs, or another than the one that is to write. So
lines keep their order, and those that a loop left behind at its end are written with the next one or at the exit.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import nullcontext, suppress
from threading import get_ident
from typing import TextIO
from weakref import WeakMethod

MOST_WAITING = 64 * 1024
"""Characters that wait at most: what a pipe takes in one go on Linux (pipe(7))."""

# Which of them is not told: what an exchange's record holds has not been cleaned.
_LOST = logging.makeLogRecord({"msg": "Lines of the log could not be written."})


class TurnHandler(logging.StreamHandler[TextIO]):
    """Writes to a stream; neither a stream that fails nor a line that cannot be made fails whoever logs."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: list[str] = []
        self._size = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        """Which is to write the lines, in which thread; None where none is."""
        self._thread = 0
        if hasattr(os, "register_at_fork"):
            forget = WeakMethod(self._forget)
            os.register_at_fork(after_in_child=lambda: (method := forget()) is not None and method())

    def emit(self, record: logging.LogRecord) -> None:
        """Let a line wait for the others of its turn, or write it."""
        try:
            line = self.format(record) + self.terminator
        except Exception:  # noqa: BLE001 - logging's rule: whoever logs is not failed by it
            self.handleError(record)
            return
        self._take(line, is_urgent=record.levelno >= logging.WARNING)

    def write(self, line: str) -> None:
        """Let a line wait that is known without a record; no filter has to see it."""
        with self.lock or nullcontext():
            self._take(line + self.terminator, is_urgent=False)

    def _take(self, line: str, *, is_urgent: bool) -> None:
        self._lines.append(line)
        self._size += len(line)
        if is_urgent or self._size > MOST_WAITING or not self._is_awaited():
            self.flush()

    def flush(self) -> None:
        """Write the lines that wait."""
        self.acquire()
        try:
            if self._lines:
                text = "".join(self._lines)
                self._forget()
                self.stream.write(text)
                self.stream.flush()
        except Exception:  # noqa: BLE001 - as above
            self.handleError(_LOST)
        finally:
            self.release()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Tell the failure on stderr, where that can be written."""
        # logging expects the OSError of a stderr that fails, and not what a closed one raises.
        with suppress(ValueError):
            super().handleError(record)

    def _is_awaited(self) -> bool:
        """Whether the loop that runs in this thread is to write the lines."""
        if self._loop is not None:
            # As `get_running_loop() is self._loop`, which asks the system for the process each time (until 3.12).
            return self._thread == get_ident() and self._loop.is_running()
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        self._thread = get_ident()
        self._loop.call_soon(self.flush)
        return True

    def _forget(self) -> None:
        """Have no lines: they are written, or after a fork the parent's."""
        self._lines.clear()
        self._size = 0
        self._loop = None
