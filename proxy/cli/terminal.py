"""The person at the terminal, if there is one: what is shown to them, and whether they can be asked."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

import click

from ..auth import Seams, SystemClock
from ..auth.browser import SystemBrowser
from .container import MARKS, is_container


def announce(url: str) -> None:
    """Print the base URL of a listener that accepts, for the program or person that started the proxy."""
    click.echo(url)


def tell(text: str) -> None:
    """Tell the person at the terminal."""
    click.echo(text, err=True)


def is_attended(
    stdin: TextIO | None,
    stderr: TextIO | None,
    environment: Mapping[str, str],
    marks: tuple[Path, ...] = MARKS,
) -> bool:
    """Whether a person can be expected to read and to sign in: terminals at both ends, and no container."""
    if stdin is None or stderr is None or not (stdin.isatty() and stderr.isatty()):
        return False
    return not is_container(environment, marks)


def has_terminal() -> bool:
    """Whether the process belongs to a terminal, wherever its streams lead; what Windows has hangs nothing up."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def terminal_seams() -> Seams:
    """What signing in needs from outside, as this process has it."""
    attended = is_attended(sys.stdin, sys.stderr, os.environ)
    return Seams(clock=SystemClock(), browser=SystemBrowser(), tell=tell, attended=attended)
