"""Whatever the order in which replicas work, stand still and die, a refresh token that was replaced is not used again."""

from __future__ import annotations

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from proxy.auth.shared import LEASE

from .sharing import Replica, World

COUNT = 3
PAUSES = (0.2, 1.0, LEASE / 2, LEASE, 4 * LEASE)
numbers = st.integers(0, COUNT - 1)


class Schedule:
    """What can happen, as steps on one world. Each step does nothing where it makes no sense."""

    def __init__(self) -> None:
        self.world = World(COUNT)
        self.lost: set[int] = set()
        """Refresh tokens whose successor was not shared in time: their user died, or stood still meanwhile."""

    def step(self, number: int) -> None:
        """Bring a replica one step further: begin, ask the issuer, share."""
        replica = self.world.replicas[number]
        if replica.turn is None:
            replica.begin()
        elif not replica.used:
            replica.redeem()
        else:
            self.end(replica)

    def end(self, replica: Replica) -> None:
        if replica.has_lost_turn:
            self.lost.add(replica.used)
        replica.end()

    def die(self, number: int) -> None:
        replica = self.world.replicas[number]
        if replica.turn is not None and replica.used:
            self.lost.add(replica.used)
        replica.die()

    def pause(self, seconds: float) -> None:
        self.world.clock.advance(seconds)

    def check(self) -> None:
        shared = self.world.shared_refresh_tokens()
        assert shared == sorted(set(shared)), "an older state took the place of a newer one"
        twice = {number for number, uses in self.world.issuer.uses.items() if uses > 1}
        assert twice <= self.lost | self._standing(), "used twice though its successor was shared in time"

    def _standing(self) -> set[int]:
        """What those have used who stand still now, after the end of their turn."""
        return {replica.used for replica in self.world.replicas if replica.turn is not None}

    def finish(self) -> None:
        """When all has come to rest, the sign-in is still there: the next one gets a token."""
        for replica in self.world.replicas:
            if replica.turn is not None:
                self.end(replica)
        self.pause(LEASE)
        last = self.world.replicas[-1]
        last.begin()
        assert last.redeem()
        last.end()
        self.check()
        assert self.world.shared_refresh_tokens()[-1] == self.world.issuer.last

    def at_rest(self) -> set[int]:
        """The refresh tokens that the replicas have when all of them have seen the entries twice more."""
        for replica in self.world.replicas:
            replica.line.is_cut = False
            if replica.turn is not None:
                replica.end()
        for replica in self.world.replicas * 2:
            self.pause(LEASE)
            replica.begin()
            replica.end()
        return {replica.cache.refresh_token for replica in self.world.replicas}


class Replicas(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.schedule = Schedule()

    @rule(number=numbers)
    def step(self, number: int) -> None:
        self.schedule.step(number)

    @rule(number=numbers)
    def die(self, number: int) -> None:
        self.schedule.die(number)

    @rule(seconds=st.sampled_from(PAUSES))
    def pause(self, seconds: float) -> None:
        self.schedule.pause(seconds)

    @invariant()
    def check(self) -> None:
        self.schedule.check()

    def teardown(self) -> None:
        self.schedule.finish()


TestReplicas = pytest.mark.filterwarnings("default")(Replicas.TestCase)
TestReplicas.settings = settings(max_examples=200, stateful_step_count=40)


def test_10000_random_schedules() -> None:
    for seed in range(10_000):
        chance = random.Random(seed)
        schedule = Schedule()
        for _ in range(chance.randint(5, 40)):
            kind = chance.random()
            if kind < 0.75:
                schedule.step(chance.randrange(COUNT))
            elif kind < 0.85:
                schedule.die(chance.randrange(COUNT))
            else:
                schedule.pause(chance.choice(PAUSES))
            schedule.check()
        schedule.finish()


def test_replicas_go_on_alone_and_agree_in_the_end_whatever_happens_to_the_entries() -> None:
    for seed in range(2_000):
        chance = random.Random(seed)
        schedule = Schedule()
        world = schedule.world
        for replica in world.replicas:  # all have seen the sign-in
            replica.begin()
            replica.end()
        for _ in range(chance.randint(5, 40)):
            replica = chance.choice(world.replicas)
            kind = chance.random()
            if kind < 0.7:
                schedule.step(replica.number)
                assert replica.cache.refresh_token
            elif kind < 0.8:
                schedule.pause(chance.choice(PAUSES))
            elif kind < 0.95:
                replica.line.is_cut = not replica.line.is_cut
            else:
                world.entries.entries.clear()
                world.entries.locks.clear()
        agreed = schedule.at_rest()

        assert len(agreed) == 1, seed
        assert agreed.pop() > 0
