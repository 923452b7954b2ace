from __future__ import annotations

import asyncio
import gc
import math
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth.cache import (
    AHEAD_PAUSE,
    FAILURE_PAUSE,
    LONGEST_PAUSE,
    SECOND_REFUSAL,
    CachedAuthenticator,
)
from proxy.auth.renewal import LEEWAY
from proxy.auth.sources import AccessToken
from proxy.config import ServerConfig
from proxy.errors import (
    AuthenticationFailed,
    IdentityProviderUnavailable,
    ProxyError,
    ProxyUnavailable,
    SignInRequired,
)
from proxy.model import Challenge, Credentials, Rejection
from proxy.rules.rejections import refused_after_sign_in

from ..fakes.clock import FakeClock

EXPLAIN = partial(refused_after_sign_in, ServerConfig.of({"base_url": "https://fhir.example"}))

HOUR = 3600.0


class FakeSource:
    """Issues t1, t2, …; waits at a gate, fails, or repeats itself when told to."""

    def __init__(self, clock: FakeClock, life: float = HOUR) -> None:
        self.clock = clock
        self.life = life
        self.refresh_in = life
        self.calls: list[Rejection | None] = []
        self.failures: list[ProxyError] = []
        self.failure: ProxyError | None = None
        self.values: Callable[[int], str] = lambda number: f"t{number}"
        self.gate = asyncio.Event()
        self.gate.set()
        self.reached = asyncio.Event()
        self.closed = False

    async def acquire(self, *, rejected: Rejection | None) -> AccessToken:
        self.calls.append(rejected)
        self.reached.set()
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        if self.failure:
            raise self.failure
        now = self.clock.time()
        return AccessToken(self.values(len(self.calls)), now + self.life, now + self.refresh_in)

    async def close(self) -> None:
        self.closed = True


class FakePerson:
    """Signs in when told to."""

    patience = 20.0

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.signed_in: asyncio.Future[str | ProxyError] = asyncio.get_running_loop().create_future()
        self.asked = asyncio.Event()
        self.reasons: list[SignInRequired] = []

    async def sign_in(self, reason: SignInRequired) -> AccessToken:
        self.reasons.append(reason)
        self.asked.set()
        try:
            outcome = await self.signed_in
        finally:
            self.asked.clear()
        if isinstance(outcome, ProxyError):
            raise outcome
        return AccessToken(outcome, self.clock.time() + HOUR, math.inf)

    def awaited(self) -> SignInRequired | None:
        return SignInRequired("waiting", hint="at the door") if self.asked.is_set() else None


@pytest.fixture
async def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def source(clock: FakeClock) -> FakeSource:
    return FakeSource(clock)


@pytest.fixture
async def cached(source: FakeSource, clock: FakeClock) -> CachedAuthenticator:
    return CachedAuthenticator(source, clock, EXPLAIN, spread=latest)


def latest() -> float:
    """As late as renewals may be."""
    return 0.0


def text(credentials: Credentials | None) -> str:
    assert credentials is not None
    return credentials.authorization.decode()


def rejection(value: str, **parameters: str) -> Rejection:
    return Rejection(Credentials(f"Bearer {value}".encode()), (Challenge("bearer", parameters),))


async def settled() -> None:
    """Let everything that can run run."""
    for _ in range(20):
        await asyncio.sleep(0)


async def down(message: str = "down", retry_after: int | None = None) -> IdentityProviderUnavailable:
    return IdentityProviderUnavailable(message, retry_after=retry_after)


# One acquisition however many wait


async def test_500_concurrent_waiters_share_one_acquisition(
    cached: CachedAuthenticator, source: FakeSource
) -> None:
    answers = await asyncio.gather(*(cached.credentials() for _ in range(500)))

    assert {"Bearer t1"} == {text(answer) for answer in answers}
    assert len(source.calls) == 1


async def test_cancelled_waiter_leaves_the_acquisition_alone(
    cached: CachedAuthenticator, source: FakeSource
) -> None:
    source.gate.clear()
    first = asyncio.create_task(cached.credentials())
    second = asyncio.create_task(cached.credentials())
    await source.reached.wait()
    first.cancel()
    await settled()
    source.gate.set()

    assert text(await second) == "Bearer t1"
    assert first.cancelled()
    assert len(source.calls) == 1


async def test_acquisition_outlives_all_who_waited(cached: CachedAuthenticator, source: FakeSource) -> None:
    source.gate.clear()
    waiter = asyncio.create_task(cached.credentials())
    await source.reached.wait()
    waiter.cancel()
    await settled()
    source.gate.set()
    await settled()

    assert text(await cached.credentials()) == "Bearer t1"
    assert len(source.calls) == 1


async def test_held_credentials_come_without_waiting(cached: CachedAuthenticator) -> None:
    first = await cached.credentials()
    coroutine = cached.credentials()
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)

    assert ended.value.value is first


# Expiry by the wall clock


@pytest.mark.parametrize(
    ("life", "usable"),
    [
        (HOUR, HOUR - LEEWAY - 1),
        (300, 269),
        (299, 268),
        (60, 53),
        (10, 8.9),
    ],
)
async def test_token_is_used_until_just_before_it_expires(
    cached: CachedAuthenticator, source: FakeSource, clock: FakeClock, life: float, usable: float
) -> None:
    source.life = source.refresh_in = life
    await cached.credentials()
    source.failure = await down()
    clock.advance(usable)

    assert text(await cached.credentials()) == "Bearer t1"
    await settled()


async def test_token_that_died_while_the_laptop_slept_is_not_sent(
    cached: CachedAuthenticator, source: FakeSource, clock: FakeClock
) -> None:
    await cached.credentials()
    clock.advance(10 * HOUR)

    assert text(await cached.credentials()) == "Bearer t2"


async def test_expired_token_is_not_sent_while_entra_is_down(
    cached: CachedAuthenticator, source: FakeSource, clock: FakeClock
) -> None:
    await cached.credentials()
    clock.advance(HOUR - LEEWAY)
    source.failure = await down()

    with pytest.raises(IdentityProviderUnavailable):
        await cached.credentials()


@pytest.mark.parametrize("life", [0.0, -1.0, -HOUR])
async def test_token_that_comes_expired_is_refused(
    cached: CachedAuthenticator, source: FakeSource, life: float
) -> None:
    source.life = life

    with pytest.raises(AuthenticationFailed, match="expired"):
        await cached.credentials()


async def test_clock_set_back_adds_nothing_to_a_tokens_life(
    cached: CachedAuthenticator, source: FakeSource, clock: FakeClock
) -> None:
    await cached.credentials()
    clock.advance(HOUR / 2)
    await cached.credentials()
    source.failure = await down()
    clock.advance(-2 * HOUR)
    kept = text(await cached.credentials())
    clock.advance(HOUR / 2 - LEEWAY)

    assert kept == "Bearer t1"
    with pytest.raises(IdentityProviderUnavailable):
        await cached.credentials()


async def test_clock_set_back_renews_soon(
    cached: CachedAuthenticator, source: FakeSource, clock: FakeClock
) -> None:
    await cached.credentials()
    clock.advance(-HOUR)
    await cached.credentials()
    await settled()

    assert text(await cached.credentials()) == "Bearer t2"


async def test_clock_set_back_does_not_prolong_a_failure(
    cached: CachedAuthenticator, source: FakeSource, clock: FakeClock
) -> None:
    source.failures = [await down()]
    with pytest.raises(IdentityProviderUnavailable):
        await cached.credentials()
    clock.advance(-HOUR)
    with pytest.raises(IdentityProviderUnavailable):
        await cached.credentials()
    clock.advance(FAILURE_PAUSE)

    assert text(await cached.credentials()) == "Bearer t2"


async def test_small_corrections_of_the_clock_renew_nothing(
    cached: CachedAuthenticator, source: FakeSource, clock: FakeClock
) -> None:
    await cached.credentials()
    clock.advance(-2)
    await cached.credentials()
    await settled()

    assert len(source.calls) == 1


# Renewal ahead


async def test_renewal_ahead_makes_no_request_wait(
    cached: CachedAuthenticator, source: FakeSource, clock: FakeClock
) -> None:
    await cached.credentials()
    source.gate.clear()
    clock.advance(HOUR - 299)
    during = [text(await cached.credentials()) for _ in range(3)]
    await settled()
    source.gate.set()
    await settled()

    assert during == ["Bearer t1"] * 3
    assert text(await cached.credentials()) == "Bearer t2"
    assert len(source.calls) == 2


async def test_renewal_begins_when_the_issuer_wants_it(
    cached: CachedAuthenticator, source: FakeSource, clock: FakeClock
) -> None:
    source.refresh_in = HOUR / 2
    await cached.credentials()
    clock.advance(HOUR / 2 - 1)
    await cached.credentials()
    await settled()
    before = len(source.calls)
    clock.advance(1)
    await cached.credentials()
    await settled()

    assert (before, len(source.calls)) == (1, 2)


async def test_renewals_of_what_started_together_come_apart(source: FakeSource, clock: FakeClock) -> None:
    made = [CachedAuthenticator(source, clock, EXPLAIN, spread=partial(float, part)) for part in (0, 0.5, 1)]
    renewed = []
    for seconds in (0, 1649, 1, 824, 1, 824, 1):
        clock.advance(seconds)
        await asyncio.gather(*(one.credentials() for one in made))
        await settled()
        renewed.append(len(source.calls) - len(made))

    assert renewed == [0, 0, 1, 1, 2, 2, 3]


@pytest.mark.parametrize("life", [10.0, 60.0, 299.0, 300.0, HOUR])
async def test_renewal_wanted_in_the_past_does_not_loop(
    cached: CachedAuthenticator, source: FakeSource, life: float
) -> None:
    source.life, source.refresh_in = life, -1
    for _ in range(10):
        await cached.credentials()
        await settled()

    assert len(source.calls) == 1


async def test_valid_token_is_used_while_entra_is_down(
    cached: CachedAuthenticator, source: FakeSource, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    await cached.credentials()
    source.failure = await down("out of order")
    clock.advance(HOUR - 200)
    answers = []
    for _ in range(20):
        answers.append(text(await cached.credentials()))
        await settled()
        clock.advance(1)

    assert answers == ["Bearer t1"] * 20
    assert len(source.calls) == 2, "one attempt in AHEAD_PAUSE"
    assert "out of order" in caplog.text
    assert "t1" not in caplog.text


async def test_renewal_is_tried_again_after_a_pause(
    cached: CachedAuthenticator, source: FakeSource, clock: FakeClock
) -> None:
    await cached.credentials()
    source.failures = [await down()]
    clock.advance(HOUR - 200)
    await cached.credentials()
    await settled()
    clock.advance(AHEAD_PAUSE)
    await cached.credentials()
    await settled()

    assert text(await cached.credentials()) == "Bearer t3"


# Failures


async def test_all_who_wait_get_the_failure_each_its_own(
    cached: CachedAuthenticator, source: FakeSource
) -> None:
    source.failure = AuthenticationFailed("no", hint="ask")
    outcomes = await asyncio.gather(*(cached.credentials() for _ in range(50)), return_exceptions=True)
    errors = [outcome for outcome in outcomes if isinstance(outcome, AuthenticationFailed)]

    assert len(source.calls) == 1
    assert [(error.message, error.hint) for error in errors] == [("no", "ask")] * 50
    assert len({id(error) for error in errors}) == 50


async def test_failure_is_remembered_for_seconds(
    cached: CachedAuthenticator, source: FakeSource, clock: FakeClock
) -> None:
    source.failures = [await down()]
    for _ in range(1000):
        with pytest.raises(IdentityProviderUnavailable):
            await cached.credentials()
    during = len(source.calls)
    clock.advance(FAILURE_PAUSE)

    assert text(await cached.credentials()) == "Bearer t2"
    assert during == 1


async def test_remembered_failure_does_not_grow(cached: CachedAuthenticator, source: FakeSource) -> None:
    source.failure = AuthenticationFailed("no")
    depths = []
    for _ in range(3):
        with pytest.raises(AuthenticationFailed) as raised:
            await cached.credentials()
        depths.append(len(list(raised.traceback)))

    assert depths[1] == depths[2]


@pytest.mark.parametrize(
    ("retry_after", "pause"), [(1, 1), (60, 60), (100_000, LONGEST_PAUSE), (None, FAILURE_PAUSE)]
)
async def test_retry_after_is_honoured(
    cached: CachedAuthenticator, source: FakeSource, clock: FakeClock, retry_after: int | None, pause: float
) -> None:
    source.failures = [await down(retry_after=retry_after)]
    with pytest.raises(IdentityProviderUnavailable):
        await cached.credentials()
    clock.advance(pause - 0.5)
    with pytest.raises(IdentityProviderUnavailable) as raised:
        await cached.credentials()
    clock.advance(0.5)

    assert text(await cached.credentials()) == "Bearer t2"
    assert raised.value.retry_after == 1


async def test_fault_in_the_source_reaches_who_waits(cached: CachedAuthenticator, source: FakeSource) -> None:
    source.values = lambda number: 1 // 0  # type: ignore[return-value]

    with pytest.raises(ZeroDivisionError):
        await cached.credentials()
    source.values = lambda number: "again"
    assert text(await cached.credentials()) == "Bearer again"


# Rejected tokens


async def test_rejected_token_is_replaced_once_for_all(
    cached: CachedAuthenticator, source: FakeSource
) -> None:
    await cached.credentials()
    refused = rejection("t1")
    answers = await asyncio.gather(*(cached.credentials(refused) for _ in range(200)))
    later = await cached.credentials(refused)

    assert {"Bearer t2"} == {text(answer) for answer in (*answers, later)}
    assert source.calls == [None, refused]


async def test_newer_token_survives_the_rejection_of_an_older(
    cached: CachedAuthenticator, source: FakeSource, clock: FakeClock
) -> None:
    await cached.credentials()
    clock.advance(HOUR)
    await cached.credentials()

    assert text(await cached.credentials(rejection("t1"))) == "Bearer t2"
    assert len(source.calls) == 2


async def test_rejected_value_is_never_returned_again(
    cached: CachedAuthenticator, source: FakeSource, clock: FakeClock
) -> None:
    source.values = lambda number: "same"
    await cached.credentials()
    with pytest.raises(AuthenticationFailed, match="just obtained for it: invalid_token: not for me"):
        await cached.credentials(rejection("same", error="invalid_token", error_description="not for me"))
    clock.advance(FAILURE_PAUSE)
    with pytest.raises(AuthenticationFailed):
        await cached.credentials()
    clock.advance(FAILURE_PAUSE)
    source.values = lambda number: "other"

    assert text(await cached.credentials()) == "Bearer other"


async def test_renewal_ahead_that_meets_a_rejection_is_forced(
    cached: CachedAuthenticator, source: FakeSource, clock: FakeClock
) -> None:
    source.values = lambda number: "same" if number < 3 else "new"
    await cached.credentials()
    source.gate.clear()
    clock.advance(HOUR - 200)
    await cached.credentials()
    refused = rejection("same")
    waiter = asyncio.create_task(cached.credentials(refused))
    await settled()
    source.gate.set()

    assert text(await waiter) == "Bearer new"
    assert source.calls == [None, None, refused]


async def test_server_that_refuses_everything_does_not_become_a_storm(
    cached: CachedAuthenticator, source: FakeSource, clock: FakeClock
) -> None:
    for _ in range(1000):
        try:
            held = await cached.credentials()
            held = await cached.credentials(Rejection(held))
            await cached.credentials(Rejection(held))
        except AuthenticationFailed:
            pass
        clock.advance(0.01)

    assert len(source.calls) <= 2 * (1 + 10 / FAILURE_PAUSE)


async def test_later_rejection_is_answered_with_a_new_token(
    cached: CachedAuthenticator, source: FakeSource, clock: FakeClock
) -> None:
    await cached.credentials()
    await cached.credentials(rejection("t1"))
    clock.advance(SECOND_REFUSAL)

    assert text(await cached.credentials(rejection("t2"))) == "Bearer t3"


async def test_rejected_token_is_gone_while_entra_is_down(
    cached: CachedAuthenticator, source: FakeSource
) -> None:
    await cached.credentials()
    source.failure = await down()

    with pytest.raises(IdentityProviderUnavailable):
        await cached.credentials(rejection("t1"))
    with pytest.raises(IdentityProviderUnavailable):
        await cached.credentials()


# A person


async def test_person_is_asked_once_and_all_wait(clock: FakeClock, source: FakeSource) -> None:
    person = FakePerson(clock)
    cached = CachedAuthenticator(source, clock, EXPLAIN, person, spread=latest)
    reason = SignInRequired("nobody yet")
    source.failure = reason
    waiters = [asyncio.create_task(cached.credentials()) for _ in range(50)]
    await person.asked.wait()
    person.signed_in.set_result("hers")

    assert {"Bearer hers"} == {text(answer) for answer in await asyncio.gather(*waiters)}
    assert person.reasons == [reason]


async def test_request_is_held_a_while_and_the_sign_in_goes_on(clock: FakeClock, source: FakeSource) -> None:
    person = FakePerson(clock)
    cached = CachedAuthenticator(source, clock, EXPLAIN, person, spread=latest)
    source.failure = SignInRequired("nobody yet")
    early = asyncio.create_task(cached.credentials())
    await person.asked.wait()
    await clock.slept(person.patience)
    clock.advance(15)
    late = asyncio.create_task(cached.credentials())
    await clock.slept(person.patience)
    clock.advance(5)
    with pytest.raises(SignInRequired, match="waiting") as raised:
        await early
    person.signed_in.set_result("hers")

    assert text(await late) == "Bearer hers"
    assert text(await cached.credentials()) == "Bearer hers"
    assert raised.value.hint == "at the door"
    assert len(source.calls) == 1


async def test_slow_entra_is_not_mistaken_for_a_slow_person(clock: FakeClock, source: FakeSource) -> None:
    person = FakePerson(clock)
    cached = CachedAuthenticator(source, clock, EXPLAIN, person, spread=latest)
    source.gate.clear()
    waiter = asyncio.create_task(cached.credentials())
    await clock.slept(person.patience)
    clock.advance(person.patience)
    await clock.slept(person.patience)
    source.gate.set()

    assert text(await waiter) == "Bearer t1"


async def test_nobody_is_troubled_while_the_token_is_good(clock: FakeClock, source: FakeSource) -> None:
    person = FakePerson(clock)
    cached = CachedAuthenticator(source, clock, EXPLAIN, person, spread=latest)
    await cached.credentials()
    source.failure = SignInRequired("the refresh token is dead")
    clock.advance(HOUR - 200)
    still = text(await cached.credentials())
    await settled()
    before = list(person.reasons)
    clock.advance(200)
    waiter = asyncio.create_task(cached.credentials())
    await person.asked.wait()
    person.signed_in.set_result("hers")

    assert (still, before) == ("Bearer t1", [])
    assert text(await waiter) == "Bearer hers"


async def test_need_that_arises_during_a_renewal_ahead_asks_the_person(
    clock: FakeClock, source: FakeSource
) -> None:
    person = FakePerson(clock)
    cached = CachedAuthenticator(source, clock, EXPLAIN, person, spread=latest)
    await cached.credentials()
    source.failure = SignInRequired("the refresh token is dead")
    source.gate.clear()
    clock.advance(HOUR - 200)
    await cached.credentials()
    clock.advance(200)
    waiter = asyncio.create_task(cached.credentials())
    await settled()
    source.gate.set()
    await person.asked.wait()
    person.signed_in.set_result("hers")

    assert text(await waiter) == "Bearer hers"


async def test_failed_sign_in_is_not_started_again_at_once(clock: FakeClock, source: FakeSource) -> None:
    person = FakePerson(clock)
    cached = CachedAuthenticator(source, clock, EXPLAIN, person, spread=latest)
    source.failure = SignInRequired("nobody yet")
    person.signed_in.set_result(SignInRequired("too late"))
    for _ in range(3):
        with pytest.raises(SignInRequired, match="too late"):
            await cached.credentials()

    assert len(person.reasons) == 1


# The token's text, and the end


@pytest.mark.parametrize(
    "value", ["", "a b", "a\r\nX: y", "a\x00", "a,b", '"a"', "ä", "a=b", "\x7f", "a\n", "=", "a\u2028"]
)
async def test_what_is_no_token_is_refused_and_not_shown(
    cached: CachedAuthenticator, source: FakeSource, value: str
) -> None:
    source.values = lambda number: value

    with pytest.raises(AuthenticationFailed, match="RFC 6750") as raised:
        await cached.credentials()
    assert not value or value not in raised.value.message


@given(st.text(max_size=40))
def test_only_tokens_become_credentials(value: str) -> None:
    allowed = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/")
    core = value.rstrip("=")
    is_token = bool(core) and set(core) <= allowed
    try:
        credentials = AccessToken(value, 0, 0).credentials()
    except AuthenticationFailed:
        assert not is_token
    else:
        assert is_token
        assert credentials.authorization == b"Bearer " + value.encode()


def test_tokens_do_not_print() -> None:
    token = AccessToken("visible", 1, 2)

    assert "visible" not in repr(token) + repr(token.credentials())


async def test_close_ends_what_is_under_way(cached: CachedAuthenticator, source: FakeSource) -> None:
    source.gate.clear()
    waiter = asyncio.create_task(cached.credentials())
    await source.reached.wait()
    await cached.close()

    with pytest.raises(ProxyUnavailable):
        await waiter
    with pytest.raises(ProxyUnavailable):
        await cached.credentials()
    assert source.closed


async def test_close_without_anything_under_way(cached: CachedAuthenticator, source: FakeSource) -> None:
    await cached.credentials()
    await cached.close()
    gc.collect()

    assert source.closed


# What is at hand without waiting

STEPS = st.lists(
    st.one_of(
        st.sampled_from(["ask", "refuse", "outdate"]),
        st.floats(-HOUR, 2 * HOUR).map(lambda seconds: round(seconds, 1)),
    ),
    max_size=8,
)


@given(STEPS)
def test_what_is_held_is_what_would_be_given(steps: list[str | float]) -> None:
    async def walk() -> None:
        clock = FakeClock()
        source = FakeSource(clock)
        source.refresh_in = HOUR / 2
        outdated: list[bool] = []
        cached = CachedAuthenticator(
            source, clock, EXPLAIN, is_outdated=lambda: bool(outdated and outdated.pop()), spread=latest
        )
        assert cached.held() is None
        for step in steps:
            if isinstance(step, float):
                clock.now += step
            elif step == "outdate":
                outdated[:] = [True]
                assert cached.held() is None
            elif step == "refuse" and (held := cached.held()) is not None:
                try:
                    await cached.credentials(Rejection(held, ()))
                except AuthenticationFailed:
                    clock.now += HOUR
            outdated.clear()
            calls, held = len(source.calls), cached.held()
            if held is not None:
                assert held is await cached.credentials()
                await settled()
                assert calls == len(source.calls)  # and nothing was to be renewed
            elif step == "ask":
                await cached.credentials()
                await settled()
        await cached.close()

    asyncio.run(walk())
