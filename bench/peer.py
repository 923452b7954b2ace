"""A proxy that is measured: where it stands, and how it is started."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

TOKEN = "e30." + "a" * 1196

CERTIFICATE, KEY, AUTHORITY = "upstream.pem", "upstream-key.pem", "authority.pem"
"""The upstream's certificate for 127.0.0.1 and `SERVER_NAME`, its key, and whom its clients trust."""

SERVER_NAME = "localhost"
"""For peers that verify names alone."""

Command = tuple[Sequence[str], dict[str, str]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a peer listens, what it stands before, and the folder for its files."""

    port: int
    upstream_port: int
    folder: Path
    is_tls: bool = False
    """Whether the upstream speaks TLS; the peers themselves do not."""
    connections: int = 1024
    """How many a peer has to hold at once, where it has to be told."""

    @property
    def upstream(self) -> str:
        """The upstream's origin."""
        return f"{'https' if self.is_tls else 'http'}://127.0.0.1:{self.upstream_port}"

    @property
    def here(self) -> str:
        """The peer's own origin."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def authority(self) -> str:
        """The file with the authority that signed the upstream's certificate."""
        return str(self.folder / AUTHORITY)

    def write(self, name: str, text: str) -> str:
        """Write a file of configuration; its path."""
        path = self.folder / f"{self.port}-{name}"
        path.write_text(text)
        return str(path)


@dataclass(frozen=True, slots=True)
class Peer:
    """A proxy by name; `rewrites` tells whether it makes the server's URLs its own.

    `command` writes its configuration and gives its command, or None where the program is not installed.
    """

    name: str
    command: Callable[[Place], Command | None]
    rewrites: bool = False
    version: Callable[[], str] = field(default=lambda: "")
