"""Host-relative URLs, `/fhir/r4/Patient?page=2`, for tools that show their key in the path.

To such a tool the server's `/fhir/r4` lies at `/k/KEY/fhir/r4`. Down, the key goes before host-relative URLs where
they are addresses; up, it is taken away wherever it stands: it is a secret, and never the server's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_PLAIN_SLASH = rb"(?:/|\\/|\\u002[Ff]|&#x2[Ff];|&#47;)"
_SLASH = _PLAIN_SLASH[:-1] + rb"|%(?:25)?2[Ff])"
_LONGEST_SLASH = len("&#x2F;")
_SLASH_BEGINS = re.compile(rb"[/\\&%]")
_NEVER_INSIDE = (b'"', b"}", b">", b"\n", b" ")


class PathPattern:
    """Finds a path in any spelling of its slashes, where a URL's path could begin and it ends as a path does."""

    __slots__ = ("_reach", "_whole")

    def __init__(self, path: bytes, slash: bytes, end: bytes) -> None:
        self._whole = re.compile(slash.join(re.escape(part) for part in path.split(b"/")) + end)
        self._reach = len(path) + (path.count(b"/") + 2) * _LONGEST_SLASH

    def matches(self, data: bytes) -> Iterator[re.Match[bytes]]:
        """The matches from left to right."""
        return self._whole.finditer(data)

    def removed_from(self, text: bytes) -> bytes:
        """The text without its matches."""
        return self._whole.sub(b"", text)

    def undecided_from(self, data: bytes) -> int:
        """Where a match may begin that the end of the data cuts; the length of the data if nowhere."""
        begin = max(0, len(data) - self._reach)
        for octet in _NEVER_INSIDE:
            begin = data.rfind(octet, begin) + 1 or begin
        found = _SLASH_BEGINS.search(data, begin)
        return len(data) if found is None else found.start()


class KeyPaths:
    """The map between a server's own paths and the same behind a key."""

    __slots__ = ("_key_path", "shown", "theirs")

    def __init__(self, base_path: bytes, key_path: bytes) -> None:
        self._key_path = key_path
        # `//x` names a host (RFC 3986 section 4.2).
        end = rb"""(?=[/?#"'&\\]|\Z)""" if base_path else b"(?!%s)" % _PLAIN_SLASH
        self.theirs = PathPattern(base_path or b"/", _PLAIN_SLASH, end)
        """Finds the server's base path; whether a value begins there is the caller's to judge."""
        self.shown = PathPattern(key_path, _SLASH, rb"(?![A-Za-z0-9_-])")
        """Finds the key."""

    def is_in(self, local_base: bytes) -> bool:
        """Whether the tool shows the key in the path."""
        return self._key_path in local_base

    def before(self, matched: bytes) -> bytes:
        """The key's path with its slashes written as in a match of `theirs`, which it goes before."""
        slash = re.match(_PLAIN_SLASH, matched)
        return self._key_path.replace(b"/", slash[0] if slash else b"/")

    def value_down(self, value: bytes) -> bytes:
        """A URL with the key, if it is host-relative and below the server's base."""
        first = next(self.theirs.matches(value), None)
        return self._key_path + value if first is not None and first.start() == 0 else value

    def text_up(self, text: bytes) -> bytes:
        """Any text without the key's path."""
        return self.shown.removed_from(text)
