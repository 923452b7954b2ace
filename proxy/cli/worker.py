"""The process of a worker: no command of a person's, but what `run` starts with `--workers`."""

from __future__ import annotations

import signal
import socket

from ..workers import work
from .event_loop import run
from .logs import set_up_logging
from .terminal import terminal_seams


def serve_supervisor(descriptor: int) -> None:
    """Serve for the supervisor at the other end of that socket, which alone says when to stop."""
    # A service manager and the keys of a terminal signal every process of a proxy at once, the supervisor too.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    end = socket.socket(fileno=descriptor)
    end.set_inheritable(False)
    run(work(end, terminal_seams(), set_up_logging))
