"""Sign-ins and tokens that replicas share: of all processes one asks Entra ID, and the others take its answer.

A process that is about to ask takes a *turn*: a lock that ends by itself after LEASE seconds unless its holder
says that it is alive. The turn begins with the entry as it is now, and it ends by putting a new one in its place,
but only where the old one is still there: a holder that was stopped for longer than its lock lasted changes
nothing that came after it, and asks for nothing before it has a new turn. So a refresh token is used twice only
where its first user died or stood still before its answer was shared. Entra ID permits that.

Where the entries cannot be reached, each process goes on with what it has in memory, and brings that along later.
Where they were lost, whoever comes next puts there what it has.
"""

from __future__ import annotations

import json
import logging
import math
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from random import uniform
from threading import Event, Thread
from typing import Protocol

from .clock import Clock
from .keeping import Serializable, Tokens, TurnLost
from .kept import sections_of
from .seal import MARK_BYTES, Seal, Unreadable
from .shared_content import Content, Kind, Owner

LEASE = 5.0
"""Seconds after which the turn of a process that has died is over."""

LONGEST_TURN = 30.0
"""Seconds for which a turn is prolonged; a call to Entra ID is given up before that."""

POLL = 0.05
"""Seconds between two looks at a turn that somebody else has; half as much again, or half as much less."""

PATIENCE: Mapping[Kind, float] = {"app": 8.0, "person": LONGEST_TURN + LEASE}
"""Seconds to wait for the turn. An app then asks by itself, as one token more does no harm; a refresh token serves
once, and by then every turn is over."""

_log = logging.getLogger(__name__)


class Unavailable(Exception):
    """The entries cannot be reached in time, or not be changed; the text follows their name, and is logged."""


class Entries(Protocol):
    """Entries and locks that all replicas see, by name. Each call answers soon or raises Unavailable."""

    def read(self, name: str) -> bytes | None:
        """The entry; None where there is none."""

    def take(self, name: str, holder: str, lease: float) -> tuple[bool, bytes | None]:
        """Take the lock for some seconds, where it is free or the holder's own; whether it is now, and the entry."""

    def extend(self, name: str, holder: str, lease: float) -> bool:
        """Begin the seconds anew; False where the lock is not the holder's any more."""

    def store(self, name: str, holder: str, mark: bytes, entry: bytes, life: float) -> bool:
        """Put an entry where there is none or the one that begins with the mark, and give the lock back.

        False where another entry is there, which stays. It is deleted after `life` seconds.
        """

    def release(self, name: str, holder: str) -> None:
        """Give the lock back, if it is still the holder's."""

    def close(self) -> None:
        """Let go of connections; from then on all is Unavailable."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The right to ask Entra ID until a moment of the monotonic clock, and what is shared as it begins."""

    holder: str
    mark: bytes
    """The beginning of the entry; empty where there was none."""
    content: Content | None = field(repr=False)
    """None where there is no entry, or none that can be opened."""
    ends_at: float


def _in_background(action: Callable[[], None]) -> None:
    Thread(target=action, name="turn", daemon=True).start()


@dataclass(frozen=True, slots=True)
class Ticker:
    """Monotonic time, waiting in a thread, and what goes on beside it; replaced in tests."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    start: Callable[[Callable[[], None]], None] = _in_background


class Shared:
    """What is shared of one app registration at one authority: a Keeping. It blocks; used by a thread at a time."""

    def __init__(
        self,
        entries: Entries,
        owner: Owner,
        seal: Seal,
        clock: Clock,
        ticker: Ticker = Ticker(),
    ) -> None:
        self._entries = entries
        self._owner = owner
        self._name = owner.name
        self._seal = seal
        self._clock = clock
        self._ticker = ticker
        self._memory = Content()
        self._known_mark = b""
        self._is_unsaved = False
        self._is_unreadable = False
        self._turn_ends_at = math.inf

    def look(self, cache: Serializable) -> Tokens:
        """The access tokens that are shared now; where there are any, MSAL's cache is filled as well."""
        try:
            entry = self._entries.read(self._name)
        except Unavailable:
            return {}
        content = self._opened(entry)
        return self._filled(cache, content, _mark(entry)) if content is not None and content.tokens else {}

    @contextmanager
    def shared(self, cache: Serializable) -> Iterator[Tokens]:
        """Fill MSAL's cache with what is shared, in a turn of our own, and share what it holds at the end."""
        turn = self._awaited()
        tokens = self._filled(cache, *((None, b"") if turn is None else (turn.content, turn.mark)))
        before = self._memory
        try:
            with self._prolonged(turn):
                yield tokens
        finally:
            now = self._memory.changed(sections_of(json.loads(cache.serialize())), dict(tokens))
            self._memory = now
            self._is_unsaved = self._is_unsaved or now != before
            if turn is not None:
                with suppress(Unavailable):
                    self._end(turn, now, has_changed=now != before)

    def check(self) -> None:
        """Raise TurnLost where the turn is over already: then another process may have begun its own."""
        if self._ticker.monotonic() >= self._turn_ends_at:
            raise TurnLost

    def close(self) -> None:
        """Let go of connections."""
        self._entries.close()

    def _begin(self, holder: str) -> Turn | None:
        """Take the turn; None while another process has it. Raises Unavailable."""
        asked_at = self._ticker.monotonic()
        is_ours, entry = self._entries.take(self._name, holder, LEASE)
        if not is_ours:
            return None
        return Turn(holder, _mark(entry), self._opened(entry), asked_at + LEASE)

    def _end(self, turn: Turn, content: Content, *, has_changed: bool) -> None:
        """Share the content, unless somebody else has done so meanwhile. Raises Unavailable.

        What cannot be opened is replaced only by what has changed: it may be of use to others.
        """
        now = self._clock.time()
        content = content.without_expired(now)
        is_foreign = bool(turn.mark) and turn.content is None
        if content.is_empty or content == turn.content or (is_foreign and not has_changed):
            self._is_unsaved = is_foreign and self._is_unsaved
            self._entries.release(self._name, turn.holder)
            return
        content = replace(content, epoch=turn.content.epoch if turn.content else secrets.token_hex(8))
        sealed = self._seal.sealed(content.text(self._owner), self._name)
        life = max(content.ends_at(now) - now, 1.0)
        is_stored = self._entries.store(self._name, turn.holder, turn.mark, sealed, life)
        if is_stored:
            self._memory, self._known_mark, self._is_unsaved = content, _mark(sealed), False

    def _awaited(self) -> Turn | None:
        """A turn, once it is ours; None for going on alone."""
        holder = secrets.token_hex(16)
        until = self._ticker.monotonic() + PATIENCE[self._owner.kind]
        try:
            while True:
                turn = self._begin(holder)
                # What took long may have used up the turn; its first half is enough to begin in.
                if turn is not None and self._ticker.monotonic() < turn.ends_at - LEASE / 2:
                    return turn
                if self._ticker.monotonic() >= until:
                    return None
                self._ticker.sleep(POLL * uniform(0.5, 1.5))  # noqa: S311  nothing secret
        except Unavailable:
            return None

    @contextmanager
    def _prolonged(self, turn: Turn | None) -> Iterator[None]:
        """Say that we are alive while the turn lasts."""
        ended = Event()
        if turn is not None:
            self._turn_ends_at = turn.ends_at
            self._ticker.start(partial(self._prolong, turn, ended))
        try:
            yield
        finally:
            ended.set()
            self._turn_ends_at = math.inf

    def _prolong(self, turn: Turn, ended: Event) -> None:
        until = self._ticker.monotonic() + LONGEST_TURN - LEASE
        is_ours = True
        while is_ours and not ended.wait(LEASE / 3) and self._ticker.monotonic() < until:
            asked_at = self._ticker.monotonic()
            with suppress(Unavailable):
                is_ours = self._entries.extend(self._name, turn.holder, LEASE)
                if is_ours and not ended.is_set():
                    self._turn_ends_at = asked_at + LEASE

    def _filled(self, cache: Serializable, found: Content | None, mark: bytes) -> Tokens:
        """Fill MSAL's cache with what is found and what we have; the access tokens, to be changed at will."""
        self._memory = self._known(found, mark)
        cache.deserialize(json.dumps(self._memory.sections))
        return dict(self._memory.tokens)

    def _known(self, found: Content | None, mark: bytes) -> Content:
        if found is None or self._known_mark == mark:
            return self._memory
        self._known_mark = mark
        was_lost = bool(self._memory.epoch) and self._memory.epoch != found.epoch
        if self._is_unsaved:
            return found.joined(self._memory)
        # Who signed in again after what we know of has not left.
        ours = replace(self._memory, left=self._memory.left - found.accounts)
        return found.joined(ours) if was_lost else found

    def _opened(self, entry: bytes | None) -> Content | None:
        """What an entry holds; None for none, and for one that cannot be opened, which is told once."""
        if entry is None:
            return None
        try:
            content = Content.of(self._seal.opened(entry, self._name), self._owner)
        except (Unreadable, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            if not self._is_unreadable:
                _log.warning(
                    "%s: what the token cache holds cannot be opened with any key of token_cache_key_file or "
                    "token_cache_key, and is not used. Give all replicas the same keys.",
                    self._owner.client_id,
                )
            self._is_unreadable = True
            return None
        self._is_unreadable = False
        return content


def _mark(entry: bytes | None) -> bytes:
    return (entry or b"")[:MARK_BYTES]
