"""How a listener may be called: by which names, from which web pages, with which key."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Final

from ..errors import ConfigError
from ..model import is_loopback

KEY_MOUNT: Final = b"/k/"
"""Where the key stands in a path; no FHIR path begins so, since types are capitalized."""

_ANY_ADDRESS: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not listened on
_LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1")
_HTTP_PORT: Final = 80

_ALLOWED_HOST: Final = re.compile(
    r"(?P<name>[a-z0-9](?:[a-z0-9._-]{0,251}[a-z0-9])?|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
)


@dataclass(frozen=True, slots=True)
class Listener:
    """How a listener may be called: `Host` values in lower case, and origins whose pages may use it."""

    authorities: frozenset[bytes]
    origins: frozenset[bytes]
    cross_origins: frozenset[bytes] = frozenset()
    """Those of them that are not its own, so that browsers ask before its answers are handed over."""
    key: bytes = field(default=b"", repr=False)
    """What tools have to show, as the field X-Proxy-Key or as the path /k/KEY; empty where they need not."""

    @classmethod
    def of(
        cls,
        host: str,
        port: int,
        allowed_hosts: Collection[str] = (),
        allow_origins: Collection[str] = (),
        key: bytes = b"",
    ) -> Listener:
        """The listener at `host` (without brackets) and the port it got.

        `allowed_hosts` are further names: `name` stands for the listener's own port, `name:port` for one that
        a container publishes. ConfigError names an entry that is neither.
        """
        names = [] if host in _ANY_ADDRESS else [host.lower()]
        if host in _ANY_ADDRESS or is_loopback(host):
            names.extend(_LOOPBACK_NAMES)
        pairs = [(f"[{name}]" if ":" in name else name, port) for name in names]
        pairs.extend(_name_and_port(entry, port) for entry in allowed_hosts)
        authorities = {f"{name}:{number}".encode("ascii") for name, number in pairs}
        authorities |= {name.encode("ascii") for name, number in pairs if number == _HTTP_PORT}
        origins = frozenset(b"http://" + authority for authority in authorities)
        cross_origins = frozenset(origin.encode("ascii") for origin in allow_origins) - origins
        return cls(frozenset(authorities), origins | cross_origins, cross_origins, key)

    @property
    def key_path(self) -> bytes:
        """The path by which tools that send no fields of their own show the key; empty where there is none."""
        return KEY_MOUNT + self.key if self.key else b""

    def without_key(self, target: bytes) -> tuple[bytes, bytes]:
        """The path of the key, if the target shows it there, and the target behind it."""
        if not self.key or not shows_key(target, self.key):
            return b"", target
        rest = target[len(self.key_path) :]
        return self.key_path, rest if rest.startswith(b"/") else b"/" + rest


def _name_and_port(entry: str, port: int) -> tuple[str, int]:
    match = _ALLOWED_HOST.fullmatch(entry.lower())
    number = int(match["port"] or port) if match else 0
    if not match or not 0 < number <= 65535:
        raise ConfigError(
            f"allowed_hosts: {entry!r} is not a host name",
            hint="Write a name or name:port as tools call it, such as fhir-proxy or fhir-proxy:8080.",
        )
    return match["name"], number


def shows_key(target: bytes, key: bytes) -> bool:
    """Whether a target begins with the path of the key."""
    if not target.startswith(KEY_MOUNT):
        return False
    shown = target.partition(b"?")[0].removeprefix(KEY_MOUNT).partition(b"/")[0]
    return compare_digest(shown, key)
