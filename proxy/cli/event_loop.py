"""The event loop of a process that serves for long."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Coroutine

if sys.platform == "win32":
    from asyncio import new_event_loop
else:
    from uvloop import new_event_loop  # libuv's loop: less CPU for each request

NEW_OBJECTS = 10_000
"""Objects between two searches for garbage that is held by cycles: some MB at most, and every exchange frees most
of its own at once."""


def run(serving: Coroutine[None, None, None]) -> None:
    """Serve to the end."""
    # What is loaded by now stays: searching it for garbage again and again took an eighth of all CPU time.
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serving)
