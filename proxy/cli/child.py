"""The command that `exec` wraps: its environment, the signals it gets, its exit status."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from ..config.settings import SETTINGS

COMMAND_NOT_FOUND = 127
NOT_EXECUTABLE = 126
SIGNALLED = 128
"""What POSIX shells exit with (XCU 2.8.2): these two, and 128 with the signal's number added."""

URL_VARIABLES = ("FHIR_BASE_URL", "FHIR_SERVER_URL")
"""The names under which FHIR tools look for their server."""

PROXY_VARIABLES = frozenset({"http_proxy", "https_proxy", "all_proxy"})
LOCAL_NAMES = "localhost,127.0.0.1,::1"

PASSED = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT") if hasattr(signal, name)
)
"""Signals that are meant for the command; Windows has the first two."""
FROM_TERMINAL = frozenset({"SIGINT", "SIGQUIT"})
"""What keys send, to every process in the terminal's foreground at once."""


def child_environment(environment: Mapping[str, str], url: str) -> dict[str, str]:
    """The command's environment: where the server is, without this program's own secrets."""
    ours = {setting.variable for setting in SETTINGS.values() if setting.is_secret}
    child = {name: value for name, value in environment.items() if name.upper() not in ours}
    child |= dict.fromkeys(URL_VARIABLES, url)
    if any(name.lower() in PROXY_VARIABLES for name in environment):
        # Many tools would ask a company's HTTP proxy for localhost, which it cannot reach.
        known = child.get("no_proxy") or child.get("NO_PROXY") or ""
        child |= dict.fromkeys(("no_proxy", "NO_PROXY"), f"{known},{LOCAL_NAMES}".lstrip(","))
    return child


async def run_child(program: str, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a command with this process's stdin, stdout and stderr; its exit status as a shell tells it.

    Raises OSError where it cannot be started.
    """
    early: list[signal.Signals] = []
    child: asyncio.subprocess.Process | None = None

    def hand_on(number: signal.Signals) -> None:
        if child is None:
            early.append(number)
        elif child.returncode is None:
            _send(child, number)

    with _signals_to(hand_on):
        child = await asyncio.create_subprocess_exec(program, *arguments, env=dict(environment))
        for number in early:
            _send(child, number)
        status = await child.wait()
    return status if status >= 0 else SIGNALLED - status


def _send(child: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Pass a signal on, unless the terminal has given it to the command as well."""
    if number.name in FROM_TERMINAL and _is_in_foreground():
        return
    with suppress(ProcessLookupError):
        child.send_signal(number)


def _is_in_foreground() -> bool:
    """Whether the keys of a terminal reach this process, and so the command, which is in its group."""
    if sys.platform == "win32":
        return True  # Ctrl-C goes to every process of the console.
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


@contextmanager
def _signals_to(hand_on: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Give signals that are meant for the command to `hand_on`, on Windows' event loop too."""
    loop = asyncio.get_running_loop()
    # What is ignored here (nohup, a shell's background job) stays ignored, and the command inherits that.
    before = {
        number: handler for number in PASSED if (handler := signal.getsignal(number)) is not signal.SIG_IGN
    }
    for number in before:
        try:
            loop.add_signal_handler(number, hand_on, number)
        except NotImplementedError:
            signal.signal(number, lambda got, _: loop.call_soon_threadsafe(hand_on, signal.Signals(got)))
    try:
        yield
    finally:
        for number, handler in before.items():
            with suppress(NotImplementedError):
                loop.remove_signal_handler(number)
            signal.signal(number, handler)
