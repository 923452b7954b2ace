from __future__ import annotations

import sys
from collections.abc import Mapping

import pytest

from proxy.auth.browser import DISPLAYS, SystemBrowser, has_display


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, False),
        ("linux", {"DISPLAY": ""}, False),
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
        ("linux", {"BROWSER": "firefox"}, True),
        ("linux", {"WSL_DISTRO_NAME": "Debian"}, True),
        ("win32", {}, True),
        ("darwin", {}, True),
    ],
)
def test_display_is_found_by_platform_and_environment(
    platform: str, environment: Mapping[str, str], expected: bool
) -> None:
    assert has_display(platform, environment) is expected


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="there is always a display")
def test_machine_without_display_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in DISPLAYS:
        monkeypatch.delenv(name, raising=False)

    assert not SystemBrowser().open("http://localhost:1")
