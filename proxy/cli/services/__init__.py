"""Started at log-in by the operating system: what each has for that, as a file and the commands that read it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from ...errors import ConfigError
from .launchd import launchd
from .plan import Plan, Planner
from .systemd import systemd
from .task_scheduler import task_scheduler

__all__ = ["Plan", "planned"]

PLANNERS: Mapping[str, Planner] = MappingProxyType(
    {"linux": systemd, "darwin": launchd, "win32": task_scheduler}
)
"""By sys.platform."""


def planned(name: str, words: tuple[str, ...], home: Path, platform: str = sys.platform) -> Plan:
    """The plan for a service called `name` that runs `words`; ConfigError where the system offers none."""
    if platform not in PLANNERS:
        raise ConfigError(
            f"there is no service for {platform}",
            hint="Start `fhir-auth-proxy run` as your system starts programs.",
        )
    return PLANNERS[platform](name, words, home)
