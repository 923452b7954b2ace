"""What is written and run to install a service, and to remove it: shown before it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Words = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A file and its commands; they are the person's own, and need no rights of an administrator."""

    path: Path
    content: bytes
    install: tuple[Words, ...]
    remove: tuple[Words, ...]
    see: str
    """The command that tells a person how the service does."""


Planner = Callable[[str, Words, Path], Plan]
"""Name, the words to run, the home directory -> the plan."""
