"""A turn from its begin to its end, and what becomes of what is shared."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from threading import Event

import pytest

from proxy.auth.authorities import Authority
from proxy.auth.entra import Entra
from proxy.auth.keeping import FRESH, Obtained, TurnLost
from proxy.auth.registration import Permission, Registration
from proxy.auth.seal import Seal
from proxy.auth.shared import LEASE, LONGEST_TURN, PATIENCE, Shared, Ticker
from proxy.auth.shared_content import REFRESH_TOKEN_LIFE, Content, Owner
from proxy.auth.sources import AccessToken
from proxy.sandbox.tenant import SECRET, SERVICE, Tenant

from ..fakes.clock import FakeClock
from ..fakes.entries import MemoryEntries
from .conftest import BASE_URL
from .sharing import KEY, LIFE, OWNER, FakeCache, World

APP = replace(OWNER, kind="app")
NOW = 1_800_000_000.0


def obtained(value: str = "t", at: float = NOW, life: float = LIFE, refresh_in: float = LIFE) -> Obtained:
    return Obtained(AccessToken(value, at + life, at + refresh_in), at)


def content(*tokens: Obtained, refresh_token: int = 0, modified: float = NOW, epoch: str = "e") -> Content:
    cache = FakeCache()
    if refresh_token:
        cache.put(refresh_token, modified)
    held = Content.of(replace(Content(), epoch=epoch).text(OWNER), OWNER)
    sections = {**held.sections, **cache.sections}
    return Content(epoch, sections, {f"purpose {number}": one for number, one in enumerate(tokens)})


SERVES = [
    # token, seconds after it was obtained, the one in hand, whether that was refused; whether it serves
    (obtained(), 0, "other", False, True),
    (obtained(), 0, "t", False, False),
    (obtained(), LIFE - 301, "", False, True),
    (obtained(), LIFE - 299, "", False, False),  # the next one would be renewed at once
    (obtained(refresh_in=1800), 1799, "", False, True),
    (obtained(refresh_in=1800), 1801, "", False, False),
    (obtained(life=60.0, refresh_in=60.0), 29, "", False, True),
    (obtained(life=60.0, refresh_in=60.0), 31, "", False, False),
    (obtained(), FRESH - 1, "other", True, True),
    (obtained(), FRESH + 1, "other", True, False),
]


@pytest.mark.parametrize(("token", "later", "unlike", "was_refused", "expected"), SERVES)
def test_token_of_another_serves_in_the_place_of_a_new_one(
    token: Obtained, later: float, unlike: str, was_refused: bool, expected: bool
) -> None:
    assert expected == token.serves(NOW + later, unlike, was_refused=was_refused)


def test_content_survives_its_text() -> None:
    whole = content(obtained("a"), obtained("b"), refresh_token=7)

    assert whole == Content.of(whole.text(OWNER), OWNER)


@pytest.mark.parametrize(
    "other", [APP, replace(OWNER, client_id="other"), replace(OWNER, authority="https://x/t")]
)
def test_content_of_another_owner_is_refused(other: Owner) -> None:
    with pytest.raises(ValueError, match="another sign-in"):
        Content.of(content().text(OWNER), other)
    assert other.name != OWNER.name


def test_secrets_are_not_in_the_text_of_the_object() -> None:
    assert "visible" not in repr(content(obtained("visible")))


def test_content_ends_with_its_last_token() -> None:
    app = content(obtained(life=100), obtained(life=200))
    person = content(obtained(life=100), refresh_token=1)

    assert NOW + 200 == app.ends_at(NOW)
    assert NOW + REFRESH_TOKEN_LIFE == person.ends_at(NOW)
    assert list(app.without_expired(NOW + 150).tokens) == ["purpose 1"]


JOINED = [
    # theirs, ours -> the refresh token that counts
    (content(refresh_token=1, modified=NOW), content(refresh_token=2, modified=NOW + 1), "2"),
    (content(refresh_token=1, modified=NOW + 1), content(refresh_token=2, modified=NOW), "1"),
    (content(refresh_token=1), content(refresh_token=2), "1"),
    (content(), content(refresh_token=2), "2"),
    (content(refresh_token=1), content(), "1"),
]


@pytest.mark.parametrize(("theirs", "ours", "expected"), JOINED)
def test_what_came_later_counts(theirs: Content, ours: Content, expected: str) -> None:
    assert expected == theirs.joined(ours).sections["RefreshToken"]["ada"]["secret"]


def test_later_access_token_counts() -> None:
    joined = content(obtained("old")).joined(content(obtained("new", NOW + 1), obtained("more")))

    assert ["new", "more"] == [one.token.value for one in joined.tokens.values()]


@pytest.fixture
def world() -> World:
    return World()


def test_entry_ends_beside_its_tokens(world: World) -> None:
    _, ends_at = world.entries.entries[OWNER.name]

    assert ends_at == world.clock.time() + REFRESH_TOKEN_LIFE


def test_nothing_is_written_where_nothing_changed(world: World) -> None:
    world.replicas[1].begin()
    world.replicas[1].end()

    assert len(world.entries.stored) == 1
    assert not world.entries.locks


def test_sign_in_that_was_removed_by_one_is_gone_for_all(world: World) -> None:
    first, second, _ = world.replicas
    second.begin()
    second.end()
    first.begin()
    first.cache.state = "{}"
    first.tokens["scope"] = obtained(at=world.clock.time())
    first.end()
    second.begin()

    assert second.cache.refresh_token == 0


def test_entry_that_was_sealed_by_us_and_is_no_content_is_told_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "proxy")
    world.entries.entries[OWNER.name] = (world.seal.sealed("[]", OWNER.name), world.clock.time() + 60)
    replica = world.replicas[1]
    for _ in range(2):
        replica.begin()
        replica.end()

    assert replica.cache.refresh_token == 0
    assert caplog.text.count("cannot be opened") == 1


def test_entry_of_another_key_stays_until_there_is_something_new(world: World) -> None:
    foreign = Seal((bytes(32),)).sealed(content(refresh_token=9).text(OWNER), OWNER.name)
    world.entries.entries[OWNER.name] = (foreign, world.clock.time() + 60)
    replica = world.replicas[0]  # which is signed in
    replica.begin()
    replica.end()
    before = world.entries.read(OWNER.name)
    replica.begin()
    replica.redeem()
    replica.end()

    assert before == foreign
    assert world.shared_refresh_tokens()[-1] == replica.cache.refresh_token


@pytest.mark.parametrize("owner", [APP, OWNER], ids=["app", "person"])
def test_turn_is_waited_for_and_then_done_without(world: World, owner: Owner) -> None:
    """Nobody prolongs a turn for as long as a person's waits."""
    world.entries.locks[owner.name] = ("somebody", world.clock.time() + 1000)
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        world.clock.advance(seconds)

    ticker = Ticker(world.clock.time, sleep, lambda beat: None)
    began = world.clock.time()
    with Shared(world.entries, owner, world.seal, world.clock, ticker).shared(FakeCache()) as tokens:
        waited = world.clock.time() - began

    assert tokens == {}
    assert PATIENCE[owner.kind] <= waited < PATIENCE[owner.kind] + max(slept)
    assert PATIENCE["person"] >= LONGEST_TURN + LEASE


def test_turn_that_took_long_to_get_is_not_begun_with(world: World) -> None:
    """Time goes by between the question and its answer: the turn may be nearly over."""

    delays = [0.0, LEASE - 1]

    class Slow(MemoryEntries):
        def take(self, name: str, holder: str, lease: float) -> tuple[bool, bytes | None]:
            taken = super().take(name, holder, lease)
            world.clock.advance(delays.pop())
            return taken

    slow = Slow(world.clock.time)
    ticker = Ticker(world.clock.time, world.clock.advance, lambda beat: None)
    with Shared(slow, OWNER, world.seal, world.clock, ticker).shared(FakeCache()):
        assert not delays


class Counted(MemoryEntries):
    """Tells when a turn was prolonged often enough to be over otherwise."""

    def __init__(self, time: Callable[[], float]) -> None:
        super().__init__(time)
        self.count = 0
        self.often = Event()

    def extend(self, name: str, holder: str, lease: float) -> bool:
        self.count += 1
        if self.count == 5:
            self.often.set()
        return super().extend(name, holder, lease)


def test_turn_lasts_while_its_holder_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.auth.shared.LEASE", 0.6)
    entries = Counted(time.monotonic)
    holder = Shared(entries, OWNER, Seal((KEY,)), FakeClock())
    with holder.shared(FakeCache()):
        assert entries.often.wait(30)
        holder.check()
        is_free, _ = entries.take(OWNER.name, "somebody", 1.0)

    assert not is_free
    assert entries.take(OWNER.name, "somebody", 1.0)[0]


def test_turn_is_not_prolonged_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.auth.shared.LEASE", 0.2)
    monkeypatch.setattr("proxy.auth.shared.LONGEST_TURN", 0.6)
    entries = Counted(time.monotonic)
    holder = Shared(entries, OWNER, Seal((KEY,)), FakeClock())
    with holder.shared(FakeCache()):
        while not entries.take(OWNER.name, "somebody", 1.0)[0]:
            continue
        with pytest.raises(TurnLost):
            holder.check()


async def test_nothing_is_sent_in_a_turn_that_is_over(
    tenant: Tenant, clock: FakeClock, ca_bundle: str
) -> None:
    """The process stands still after it has taken its turn: it takes another one before it asks."""
    entries = MemoryEntries(clock.time)
    still = [LEASE]

    class Sleepy(Shared):
        def check(self) -> None:
            clock.advance(still.pop() if still else 0)
            super().check()

    def place(_: Authority) -> Shared:
        ticker = Ticker(clock.time, clock.advance, lambda beat: None)
        return Sleepy(entries, APP, Seal((KEY,)), clock, ticker)

    async def where() -> Authority:
        return Authority(tenant.authority, tenant.tenant_id)

    registration = Registration(SERVICE.client_id, BASE_URL, Permission.APP, BASE_URL, ca_bundle)
    entra = Entra(where, registration, clock, place=place)
    token = await entra.app_token(SECRET)
    entra.close()

    assert tenant.verify(token.value, BASE_URL)
    assert len(tenant.token_requests) == 1
    assert len(entries.stored) == 1
