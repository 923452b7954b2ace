"""A blocking call in a thread that nobody has to wait for: not the loop, not the end of the process.

The threads of `concurrent.futures` are joined when the interpreter exits, so one that hangs in a socket would
hold up a stop. These are daemons: a stop leaves them behind. A call costs a new thread, 0.1 ms, a few times
an hour.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import TypeVar

Result = TypeVar("Result")


async def in_thread(function: Callable[[], Result]) -> Result:
    """The function's result or exception; cancelled, it is left to itself and its outcome forgotten."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Result] = loop.create_future()

    def report(deliver: Callable[[], None]) -> None:
        if not outcome.done():
            deliver()

    def run() -> None:
        deliver: Callable[[], None]
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001  it is not ended here but moved to who awaits
            failure = error
            deliver = lambda: outcome.set_exception(failure)  # noqa: E731
        else:
            deliver = lambda: outcome.set_result(result)  # noqa: E731
        with suppress(RuntimeError):  # the loop has ended, and with it whoever waited
            loop.call_soon_threadsafe(report, deliver)

    Thread(target=run, name="entra", daemon=True).start()
    return await outcome
