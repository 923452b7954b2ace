"""What the system asks of the process: to stop, to stop at once, to take its settings anew."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


class Stop:
    """When to stop: `drain` once asked to, `cut` when asked again."""

    def __init__(self) -> None:
        self.drain = asyncio.Event()
        self.cut = asyncio.Event()

    def ask(self) -> None:
        """Ask once more."""
        (self.cut if self.drain.is_set() else self.drain).set()


@contextmanager
def signals(ask: Callable[[], None], hang_up: Callable[[], None] | None = None) -> Iterator[None]:
    """Ask at SIGINT and SIGTERM, on event loops without signal handlers (Windows) too; `hang_up` at SIGHUP.

    Without `hang_up`, and on Windows, a hangup does what the system does by itself.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python hands signals to the main thread alone; whoever runs this elsewhere has a `stop`.
        return
    loop = asyncio.get_running_loop()
    acts = {signal.SIGINT: ask, signal.SIGTERM: ask}
    if hang_up is not None and sys.platform != "win32":
        acts[signal.SIGHUP] = hang_up
    before = {name: signal.getsignal(name) for name in acts}
    for name, act in acts.items():
        try:
            loop.add_signal_handler(name, act)
        except NotImplementedError:
            signal.signal(name, lambda *_: loop.call_soon_threadsafe(ask))
    try:
        yield
    finally:
        for name in acts:
            with suppress(NotImplementedError):
                loop.remove_signal_handler(name)
            signal.signal(name, before[name])
