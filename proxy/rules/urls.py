"""The server's base URL and the proxy's own: which path belongs to which, and each in place of the other.

Down, from the server to the tool, a URL under the upstream's base (or under an alias, by which the server
calls itself) becomes local where it is an address. Up, every occurrence of the proxy's own address becomes
the upstream's: nobody's identity is a port of the tool's own machine, and the server must never store one.

Storage accounts beside the upstream are mapped in the same way, each to a path of its own below `STORAGE_MOUNT`.
What came down from another spelling than the configured one bears a mark, and goes up as it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from ..model import DEFAULT_PORTS, BaseUrl
from .key_paths import KeyPaths
from .marks import longest_mark, mark, mark_at_end, marked_url
from .respelling import in_spelling_of, last_segments, origin_of, unescaped
from .spellings import BEFORE, MARK_MOUNT, MOST_PORTS, AddressPattern, can_begin, stands_alone

STORAGE_MOUNT: Final = "/.fhir-auth-proxy/storage"
"""Where the accounts are mounted, each under its host. No FHIR path begins with a dot but `.well-known`."""

_LONGEST_PORT: Final = len(":65535")
_MARK_MOUNT: Final = MARK_MOUNT.encode("ascii")
_STORAGE_SEGMENTS: Final = [segment.encode("ascii") for segment in STORAGE_MOUNT.split("/") if segment]

# RFC 8288 section 3: <URI-Reference>, then parameters; a quoted one may hold angle brackets.
_LINK_PART: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|<([^<>]*)>', re.DOTALL)


@dataclass(frozen=True, slots=True)
class StorageTarget:
    """A target below `STORAGE_MOUNT`: where that is mounted, the account as it is written, and the target there."""

    mount: bytes
    account: str
    target: bytes


class UrlMap:
    """The map between one upstream and the listener in front of it; built once a server, never changed.

    `authorities` are all spellings of host and port by which tools may call the listener. A proxy for
    `https://x/fhir/r4` answers at `/fhir/r4`, so that host-relative links of the server work, and at `/`;
    where tools show a key as the path `key_path`, behind that too. `accounts` are hosts of storage accounts, with
    a port where it is not 443; whatever else a host serves stays what it is.
    """

    __slots__ = ("_accounts", "_below", "_marked_below", "_path", "_upstream", "key_paths", "own", "theirs")

    def __init__(
        self,
        upstream: BaseUrl,
        *,
        aliases: Collection[BaseUrl] = (),
        authorities: Collection[str],
        key_path: str = "",
        accounts: Collection[str] = (),
    ) -> None:
        self._upstream = str(upstream).encode("ascii")
        self._path = upstream.path.encode("ascii")
        self._below, self._marked_below = self._path + b"/", self._path + _MARK_MOUNT
        storage = {account: BaseUrl.parse(f"https://{account}") for account in accounts}
        self._accounts = {
            origin: f"{STORAGE_MOUNT}/{account}".encode("ascii")
            for account, base in storage.items()
            for origin in _written_origins(base)
        }
        bases = [upstream, *aliases]
        self.theirs = AddressPattern([*bases, *storage.values()])
        """Finds the upstream's base, its aliases and the accounts."""
        self.own = AddressPattern(
            [BaseUrl.parse(f"http://{authority}{upstream.path}") for authority in authorities],
            also=[
                mount + below
                for mount in ("", upstream.path, key_path, key_path + upstream.path)
                for below in ("", *(f"{STORAGE_MOUNT}/{account}" for account in accounts))
            ],
            longest_mark=longest_mark(max(len(str(base)) for base in bases) + MOST_PORTS * _LONGEST_PORT),
        )
        """Finds the proxy's own addresses."""
        self.key_paths = KeyPaths(self._path, key_path.encode("ascii")) if key_path else None
        """Host-relative URLs behind the key, where tools show one."""

    def mount(self, target: bytes) -> tuple[bytes, bytes]:
        """The path at which the request addresses the proxy's base, and the target to send upstream.

        The mount is the upstream's own base path, or empty for the root. A mark behind it goes no further:
        whatever the server calls itself, it is called at its base URL.
        """
        if not target.startswith(b"/"):
            return b"", target  # `*` of OPTIONS, and the absolute form, which no server but a proxy gets
        if (  # as almost every one is
            target.startswith(self._below)
            and target.find(b"?") < 0
            and not target.startswith(self._marked_below)
        ):
            return self._path, target
        path, question, query = target.partition(b"?")
        query = self.query_up(query)
        mount = self._path if path == self._path or path.startswith(self._path + b"/") else b""
        below = self._without_mark(path[len(mount) :])
        # The base itself has no slash: HAPI's page links are `base?_getpages=…`.
        below = b"" if below == b"/" and not mount else below
        return mount, (self._path + below or b"/") + question + query

    def storage_target(self, target: bytes) -> StorageTarget | None:
        """What a target names below `STORAGE_MOUNT`, of an account that is listed or not; None for all others."""
        if not self._accounts:
            return None
        path, question, query = target.partition(b"?")
        for mount in (self._path, b""):
            prefix = mount + STORAGE_MOUNT.encode("ascii") + b"/"
            if path.startswith(prefix):
                account, _, below = path[len(prefix) :].partition(b"/")
                rest = b"/" + below + question + self.query_up(query)
                return StorageTarget(mount, account.decode("latin-1"), rest)
        return None

    def local_base(self, authority: bytes, mount: bytes) -> bytes:
        """The proxy's base URL as the tool knows it, from the request's `Host` and its mount."""
        return b"http://" + authority + mount

    def location_down(self, value: bytes, local_base: bytes) -> bytes:
        """A field value that is one URL (`Location`, `Content-Location`), local if it was the upstream's."""
        if self.key_paths and self.key_paths.is_in(local_base):
            value = self.key_paths.value_down(value)
        first = next(self.theirs.matches(value), None)
        if first is None or first.start() != 0 or not stands_alone(first):
            return value
        return _substituted(self.theirs, value, lambda matched: self.address_down(matched, local_base))

    def link_down(self, value: bytes, local_base: bytes) -> bytes:
        """A `Link` field value (RFC 8288) with each target that was the upstream's local."""
        return _LINK_PART.sub(
            lambda part: part[0] if part[1] is None else b"<%s>" % self.location_down(part[1], local_base),
            value,
        )

    def text_up(self, value: bytes) -> bytes:
        """Any text with every own address, in any spelling, made the upstream's, and without the key."""
        value = _substituted(self.own, value, self.address_up)
        return self.key_paths.text_up(value) if self.key_paths else value

    def query_up(self, query: bytes) -> bytes:
        """A raw query with every own address made the upstream's, encoded as it was; all else stays."""
        return self.text_up(query) if query else query

    def address_down(self, matched: bytes, local_base: bytes) -> bytes:
        """The local base URL in the spelling of a match of `theirs`, from which `address_up` makes that match."""
        mount = self._accounts.get(origin_of(matched)) if self._accounts else None
        if mount is not None:
            return in_spelling_of(matched, local_base + mount)
        if (
            matched != in_spelling_of(matched, self._upstream)
            and (url := unescaped(matched)) != self._upstream
        ):
            local_base += mark(url)
        return in_spelling_of(matched, local_base)

    def address_up(self, matched: bytes) -> bytes:
        """What a match of `own` stands for, in its spelling: the upstream's base URL, an account's, or its mark's."""
        found = mark_at_end(matched)
        if self._accounts and (account := _account_of(matched, found)):
            url = b"https://" + account
            return in_spelling_of(matched, url + _MARK_MOUNT + found if found else url)
        if not found:
            return in_spelling_of(matched, self._upstream)
        url = self._marked(found)
        return in_spelling_of(matched, url or self._upstream + _MARK_MOUNT + found)

    def _without_mark(self, path: bytes) -> bytes:
        """A path below the mount, less the mark that it may begin with."""
        if not path.startswith(_MARK_MOUNT):
            return path
        found, slash, rest = path[len(_MARK_MOUNT) :].partition(b"/")
        return slash + rest if self._marked(found) else path

    def _marked(self, found: bytes) -> bytes:
        """The upstream's base URL, or an alias, as a mark spells it; empty where it names anything else."""
        url = marked_url(found)
        is_theirs = self.theirs.is_all_of(url) and url == unescaped(url)
        return url if is_theirs and origin_of(url) not in self._accounts else b""


def _account_of(matched: bytes, found: bytes) -> bytes:
    """The account that a match of `own` ends with, before a path that looks like a mark; empty where there is none."""
    segments = last_segments(matched, len(_STORAGE_SEGMENTS) + (3 if found else 1))
    count = len(_STORAGE_SEGMENTS)
    return segments[count] if segments[:count] == _STORAGE_SEGMENTS else b""


def _written_origins(base: BaseUrl) -> list[bytes]:
    """How a base's scheme, host and port can be written, once spelled plainly."""
    host = f"[{base.host}]" if ":" in base.host else base.host
    least = 0 if base.port == DEFAULT_PORTS[base.scheme] else 1
    return [
        f"{base.scheme}://{host}{f':{base.port}' * times}".encode("ascii")
        for times in range(least, MOST_PORTS + 1)
    ]


def _substituted(pattern: AddressPattern, text: bytes, replacement: Callable[[bytes], bytes]) -> bytes:
    pieces: list[bytes] = []
    done = 0
    for match in pattern.matches(text):
        if can_begin(text[max(0, match.start() - BEFORE) : match.start()]):
            pieces += (text[done : match.start()], replacement(match[0]))
            done = match.end()
    if not pieces:
        return text
    return b"".join((*pieces, text[done:]))
