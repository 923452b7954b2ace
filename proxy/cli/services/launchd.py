"""macOS: a launch agent of the user's own (launchd.plist(5))."""

from __future__ import annotations

import os
import plistlib
from pathlib import Path

from .plan import Plan, Words


def launchd(name: str, words: Words, home: Path) -> Plan:
    """Started when the person logs in, and again when it fails."""
    path = home / "Library" / "LaunchAgents" / f"{name}.plist"
    log = str(home / "Library" / "Logs" / f"{name}.log")
    content = {
        "Label": name,
        "ProgramArguments": list(words),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 10,
        "ExitTimeOut": 40,
        "ProcessType": "Background",
        "Umask": 0o077,
        "StandardErrorPath": log,
    }
    # Sessions are named by the user's number; there is none where this is only planned for another system.
    domain = f"gui/{os.getuid() if hasattr(os, 'getuid') else 0}"
    return Plan(
        path=path,
        content=plistlib.dumps(content, sort_keys=False),
        install=(("launchctl", "bootstrap", domain, str(path)),),
        remove=(("launchctl", "bootout", f"{domain}/{name}"),),
        see=f"launchctl print {domain}/{name}; tail {log}",
    )
