"""Which process holds a port, where the system tells: Linux, for processes of the same user."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_LISTENING = "0A"
"""The state in /proc/net/tcp (proc(5)): TCP_LISTEN of Linux's tcp_states.h."""


def port_holder(port: int, proc: Path = Path("/proc")) -> str:
    """Name and id of the process that listens on a TCP port, such as `node (pid 4711)`; empty if unknown."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port, proc)}
    if not sockets:
        return ""
    for process in proc.glob("[0-9]*"):
        with suppress(OSError):
            if any(_link(descriptor) in sockets for descriptor in (process / "fd").iterdir()):
                name = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
                return f"{''.join(filter(str.isprintable, name))} (pid {process.name})"
    return ""


def _listening(port: int, proc: Path) -> set[str]:
    """Inodes of the sockets that listen on a port, on any address."""
    found = set()
    for table in ("net/tcp", "net/tcp6"):
        with suppress(OSError, ValueError, IndexError):
            for line in (proc / table).read_text(encoding="ascii").splitlines()[1:]:
                columns = line.split()
                if columns[3] == _LISTENING and int(columns[1].rpartition(":")[2], 16) == port:
                    found.add(columns[9])
    return found


def _link(descriptor: Path) -> str:
    """Where a descriptor leads; empty where it was closed meanwhile."""
    with suppress(OSError):
        return str(descriptor.readlink())
    return ""
