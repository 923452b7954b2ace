"""Replicas that share one person's sign-in, step by step, before an issuer that replaces refresh tokens."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager

from proxy.auth.keeping import Obtained, Tokens, TurnLost
from proxy.auth.kept import Sections
from proxy.auth.seal import Seal
from proxy.auth.shared import Shared, Ticker
from proxy.auth.shared_content import Content, Owner
from proxy.auth.sources import AccessToken

from ..fakes.clock import FakeClock
from ..fakes.entries import Line, MemoryEntries

KEY = bytes(range(32))
OWNER = Owner("https://login.example/tenant", "client", "person")
LIFE = 3600.0


class Held(Exception):
    """Another replica has the turn."""


class FakeCache:
    """MSAL's cache, of which only what is kept matters."""

    has_state_changed = False

    def __init__(self) -> None:
        self.state = "{}"

    def serialize(self) -> str:
        return self.state

    def deserialize(self, state: str | None) -> None:
        self.state = state or "{}"

    @property
    def sections(self) -> Sections:
        sections: Sections = json.loads(self.state)
        return sections

    @property
    def refresh_token(self) -> int:
        """Its number; 0 for none."""
        return refresh_token_in(self.sections)

    def put(self, number: int, now: float) -> None:
        modified = {"last_modification_time": str(int(now)), "home_account_id": "ada"}
        self.state = json.dumps(
            {
                "Account": {"ada": {"home_account_id": "ada", "username": "ada@example.org"}},
                "RefreshToken": {"ada": {**modified, "secret": str(number)}},
            }
        )


def refresh_token_in(sections: Sections) -> int:
    return int(str(sections.get("RefreshToken", {}).get("ada", {}).get("secret", 0)))


class Issuer:
    """Gives a new refresh token for each, and counts how often each has been used."""

    def __init__(self) -> None:
        self.last = 1
        self.uses: Counter[int] = Counter()

    def redeem(self, number: int) -> int:
        self.uses[number] += 1
        self.last += 1
        return self.last


class Replica:
    """One process: its connection, its memory, and how far it has come."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.line = Line(world.entries)
        self.beats: list[Callable[[], None]] = []
        self.shared = Shared(self.line, OWNER, world.seal, world.clock, world.ticker)
        self.cache = FakeCache()
        self.turn: AbstractContextManager[Tokens] | None = None
        self.tokens: Tokens = {}
        self.used = 0
        """The refresh token that was used in this turn."""

    def begin(self) -> None:
        """Take the turn, if it is to be had."""
        turn = self.shared.shared(self.cache)
        try:
            self.tokens = turn.__enter__()
        except Held:
            return
        self.turn, self.used = turn, 0

    @property
    def has_lost_turn(self) -> bool:
        try:
            self.shared.check()
        except TurnLost:
            return True
        return False

    def redeem(self) -> bool:
        """Use the refresh token right after the check, as before a request; False where the turn was lost."""
        if self.has_lost_turn:
            self.end()
            return False
        self.used = self.cache.refresh_token
        now = self.world.clock.time()
        number = self.world.issuer.redeem(self.used)
        self.cache.put(number, now)
        self.tokens["scope ada"] = Obtained(AccessToken(f"token-{number}", now + LIFE, now + LIFE), now)
        return True

    def end(self) -> None:
        """Share what came of it."""
        assert self.turn is not None
        turn, self.turn = self.turn, None
        turn.__exit__(None, None, None)

    def die(self) -> None:
        """Be killed: what was not shared is lost, and another process starts in the place."""
        self.line.is_cut = True
        if self.turn is not None:
            self.end()
        self.world.replicas[self.number] = Replica(self.world, self.number)

    def look(self) -> Tokens:
        return self.shared.look(self.cache)


class World:
    """Replicas, entries, an issuer and the one clock of them all; the person has signed in at the first."""

    def __init__(self, count: int = 3) -> None:
        self.clock = FakeClock()
        self.entries = MemoryEntries(self.clock.time)
        self.seal = Seal((KEY,))
        self.ticker = Ticker(self.clock.time, self._held, lambda beat: None)
        self.issuer = Issuer()
        self._shared: list[int] = []
        self.replicas = [Replica(self, number) for number in range(count)]
        first = self.replicas[0]
        first.begin()
        first.cache.put(1, self.clock.time())
        first.end()

    def shared_refresh_tokens(self) -> list[int]:
        """The refresh tokens that were shared, in order."""
        for entry in self.entries.stored[len(self._shared) :]:
            self._shared.append(refresh_token_in(self.content(entry).sections))
        return self._shared

    def content(self, entry: bytes) -> Content:
        return Content.of(self.seal.opened(entry, OWNER.name), OWNER)

    @staticmethod
    def _held(seconds: float) -> None:
        raise Held
