"""The browser of this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

DISPLAYS = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME")
"""Without any of these variables a Unix desktop has no window to open."""


class SystemBrowser:
    """Opens pages as the person has set up: the command in BROWSER, otherwise the desktop's default."""

    def open(self, url: str) -> bool:
        """Show a page; False where no browser could be started. It may block."""
        if not has_display(sys.platform, os.environ):
            return False  # Or a text browser would take the terminal.
        import webbrowser  # noqa: PLC0415  few starts open one

        try:
            return webbrowser.open(url, new=2)
        except (OSError, webbrowser.Error):
            return False


def has_display(platform: str, environment: Mapping[str, str]) -> bool:
    """Whether there is a screen on which a browser could show a page."""
    return platform in {"win32", "darwin"} or any(environment.get(name) for name in DISPLAYS)
