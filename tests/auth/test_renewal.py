from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.auth.renewal import EARLY, EARLY_AFTER_A_WAIT, LEEWAY, MINIMUM_AGE, RENEW_AHEAD, Times, times

HOUR = 3600.0
NOW = 1_800_000_000.0

SECONDS = st.floats(0.001, 100_000)
CHANCE = st.floats(0, 1)


def renewed(chance: float, *, was_awaited: bool) -> float:
    """Seconds after which a token of an hour is renewed."""
    return times(NOW, NOW + HOUR, NOW + HOUR, chance, was_awaited=was_awaited).refresh_at - NOW


@given(SECONDS, st.floats(-100_000, 100_000), CHANCE, st.booleans())
def test_token_is_renewed_after_some_use_and_before_its_end(
    life: float, wanted_in: float, chance: float, was_awaited: bool
) -> None:
    found = times(0.0, life, wanted_in, chance, was_awaited=was_awaited)

    assert min(MINIMUM_AGE, life / 2) <= found.refresh_at <= max(life / 2, life - RENEW_AHEAD)
    assert 0 < found.refresh_at < found.usable_until < life


@given(SECONDS, SECONDS, CHANCE, CHANCE, st.booleans())
def test_chance_brings_the_renewal_forward_and_never_back(
    life: float, wanted_in: float, one: float, other: float, was_awaited: bool
) -> None:
    less, more = sorted((one, other))
    late = times(0.0, life, wanted_in, less, was_awaited=was_awaited)
    early = times(0.0, life, wanted_in, more, was_awaited=was_awaited)
    latest = times(0.0, life, wanted_in, 0.0, was_awaited=was_awaited)
    part = EARLY_AFTER_A_WAIT if was_awaited else EARLY

    assert early.refresh_at <= late.refresh_at <= latest.refresh_at
    assert early.refresh_at >= latest.refresh_at * (1 - part) - 1e-6
    assert early.usable_until == late.usable_until == latest.usable_until


def test_token_of_an_hour() -> None:
    latest = times(NOW, NOW + HOUR, NOW + HOUR, 0.0, was_awaited=False)

    assert Times(NOW + HOUR - RENEW_AHEAD, NOW + HOUR - LEEWAY) == latest
    assert [3300, 2970] == [renewed(chance, was_awaited=False) for chance in (0, 1)]
    assert [3300, 1650] == [renewed(chance, was_awaited=True) for chance in (0, 1)]
