"""What the field lines of a request decide, remembered: a tool sends the same ones with every request."""

from __future__ import annotations

from ..model import Fields

MOST = 256
"""Different requests that are remembered; then all are forgotten, and learned anew."""

MOST_BYTES = 4 * 1024
"""Bytes of field lines that are worth it: those of almost every tool, with a token of its own."""


class KnownFields:
    """Field lines that have passed the guards, and what follows from them whatever the target."""

    __slots__ = ("rewrites_bodies", "to_server")

    def __init__(self, *, rewrites_bodies: bool) -> None:
        self.rewrites_bodies = rewrites_bodies
        self.to_server: dict[bool, Fields] = {}
        """As they go to the server, by whether the proxy signs in; each made when first needed."""


class Memory:
    """Known fields by their lines."""

    __slots__ = ("_known", "get")

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[bytes, bytes], ...], KnownFields] = {}
        self.get = self._known.get

    def keep(self, fields: Fields, known: KnownFields) -> None:
        """Remember what follows from fields, if they are not too large."""
        if sum(len(name) + len(value) for name, value in fields.lines) > MOST_BYTES:
            return
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[fields.lines] = known
