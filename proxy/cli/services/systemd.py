"""Linux: a unit of the user's own systemd (systemd.service(5), systemd.syntax(7))."""

from __future__ import annotations

from pathlib import Path

from .plan import Plan, Words

UNIT = """\
[Unit]
Description=FHIR proxy that signs in to Microsoft Entra ID

[Service]
Type=exec
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
TimeoutStopSec=40
Restart=on-failure
RestartSec=2
# Wrong settings (2) do not become right by another start.
RestartPreventExitStatus=2
NoNewPrivileges=yes
UMask=0077

[Install]
WantedBy=default.target
"""


def systemd(name: str, words: Words, home: Path) -> Plan:
    """Started when the person logs in; `loginctl enable-linger` starts it with the machine."""
    unit = f"{name}.service"
    return Plan(
        path=home / ".config" / "systemd" / "user" / unit,
        content=UNIT.format(command=" ".join(map(_quoted, words))).encode(),
        install=(
            ("systemctl", "--user", "daemon-reload"),
            ("systemctl", "--user", "enable", unit),
            ("systemctl", "--user", "restart", unit),
        ),
        remove=(
            ("systemctl", "--user", "disable", "--now", unit),
            ("systemctl", "--user", "daemon-reload"),
        ),
        see=f"systemctl --user status {unit}; journalctl --user --unit {unit}",
    )


def _quoted(word: str) -> str:
    """A word of a command line; `%` and `$` would be replaced (systemd.service(5), Command lines)."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'
