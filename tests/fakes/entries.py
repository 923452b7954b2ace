"""Entries and locks as Redis keeps them, in memory, under a clock that a test moves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from proxy.auth.shared import Unavailable


@dataclass
class MemoryEntries:
    """What all replicas see. `stored` are the entries that took the place of others, in order."""

    time: Callable[[], float]
    entries: dict[str, tuple[bytes, float]] = field(default_factory=dict)
    locks: dict[str, tuple[str, float]] = field(default_factory=dict)
    stored: list[bytes] = field(default_factory=list)

    def read(self, name: str) -> bytes | None:
        entry, ends_at = self.entries.get(name, (None, 0.0))
        return entry if self.time() < ends_at else None

    def take(self, name: str, holder: str, lease: float) -> tuple[bool, bytes | None]:
        is_ours = self._holder(name) in {None, holder}
        if is_ours:
            self.locks[name] = (holder, self.time() + lease)
        return is_ours, self.read(name)

    def extend(self, name: str, holder: str, lease: float) -> bool:
        is_ours = self._holder(name) == holder
        if is_ours:
            self.locks[name] = (holder, self.time() + lease)
        return is_ours

    def store(self, name: str, holder: str, mark: bytes, entry: bytes, life: float) -> bool:
        there = self.read(name)
        is_free = there is None or there == entry or (mark != b"" and there.startswith(mark))
        if is_free:
            self.entries[name] = (entry, self.time() + life)
            self.stored.append(entry)
        self.release(name, holder)
        return is_free

    def release(self, name: str, holder: str) -> None:
        if self._holder(name) == holder:
            del self.locks[name]

    def close(self) -> None:
        """There is nothing to let go of."""

    def _holder(self, name: str) -> str | None:
        holder, ends_at = self.locks.get(name, (None, 0.0))
        return holder if self.time() < ends_at else None


class Line:
    """A replica's own connection to entries, which can be cut."""

    def __init__(self, entries: MemoryEntries) -> None:
        self._entries = entries
        self.is_cut = False

    @property
    def _reached(self) -> MemoryEntries:
        if self.is_cut:
            raise Unavailable
        return self._entries

    def read(self, name: str) -> bytes | None:
        return self._reached.read(name)

    def take(self, name: str, holder: str, lease: float) -> tuple[bool, bytes | None]:
        return self._reached.take(name, holder, lease)

    def extend(self, name: str, holder: str, lease: float) -> bool:
        return self._reached.extend(name, holder, lease)

    def store(self, name: str, holder: str, mark: bytes, entry: bytes, life: float) -> bool:
        return self._reached.store(name, holder, mark, entry, life)

    def release(self, name: str, holder: str) -> None:
        self._reached.release(name, holder)

    def close(self) -> None:
        self.is_cut = True
