"""What the field lines of a request decide, remembered: a tool sends the same ones with every request."""

from __future__ import annotations

from typing import Final

from ..model import Credentials, Fields

MOST: Final = 256
"""Different requests that are remembered; then all are forgotten, and learned anew."""


class KnownFields:
    """Field lines that have passed the guards, and what follows from them whatever the target."""

    __slots__ = ("fields", "rewrites_bodies", "to_server")

    def __init__(self, fields: Fields, *, rewrites_bodies: bool) -> None:
        self.fields = fields
        self.rewrites_bodies = rewrites_bodies
        self.to_server: tuple[Credentials | None, Fields] | None = None
        """As they go to the server with the credentials that were used last, and those."""


class Memory:
    """Known fields, found again as the same object: who parses them remembers them too."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[int, KnownFields] = {}

    def get(self, fields: Fields) -> KnownFields | None:
        """What follows from fields; None where they are not known, or are others that look alike."""
        return self._known.get(id(fields))

    def keep(self, known: KnownFields) -> None:
        """Remember what follows from fields that come again."""
        fields = known.fields
        if not fields.comes_again:
            return
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[id(fields)] = known  # which holds them, so that no others get their id
