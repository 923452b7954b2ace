"""A running program: started, watched by the kernel's accounting, stopped."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Self

PROXY_CPU, LOAD_CPU = 0, 1
"""Proxies share one processor, the load generator and the upstream the other."""

_INHERITED = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""What programs get from the present environment: byte code is kept, as where a program is installed."""


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def pin(cpu: int) -> None:
    """Keep the present process, and what it starts, on one processor, where there is a second."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > cpu:
        with suppress(OSError):
            os.sched_setaffinity(0, {cpu})


class Running:
    """A program and all that it started."""

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], cpu: int | None
    ) -> None:
        self._output = (folder / f"{Path(command[0]).name}-{free_port()}.log").open("wb")
        self._process = subprocess.Popen(  # noqa: S603
            command,
            cwd=folder,
            env={**_INHERITED, **environment},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            preexec_fn=None if cpu is None else lambda: pin(cpu),  # noqa: PLW1509  (this program has one thread when it starts others)
        )

    @property
    def ended(self) -> bool:
        """Whether the program has ended by itself."""
        return self._process.poll() is not None

    def cpu_seconds(self) -> float:
        """CPU time of all its threads, user and kernel, to the nanosecond (/proc/PID/task/TID/schedstat)."""
        total = 0
        for pid in self._tree():
            for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with suppress(OSError):
                    total += int(task.read_text().split()[0])
        return total / 1e9

    def resident_bytes(self) -> int:
        """Memory of the program and what it started, shared pages counted once each."""
        total = 0
        for pid in self._tree():
            with suppress(OSError):
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return total

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()

    def _tree(self) -> list[int]:
        tree = [self._process.pid]
        for pid in tree:
            with suppress(OSError):
                for children in Path(f"/proc/{pid}/task").glob("*/children"):
                    tree.extend(map(int, children.read_text().split()))
        return tree


class PeakMemory:
    """The highest memory of a program while this is entered."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._done = Event()
        self._thread = Thread(target=self._watch)
        self.before = self.peak = running.resident_bytes()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self.peak = max(self.peak, self._running.resident_bytes())
