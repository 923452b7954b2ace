from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.charts import HEIGHT, WIDTH, bars, steps
from proxy.admin.page import shown
from proxy.admin.traffic import BOUNDS, LATEST, SPAN, SPANS, Traffic
from proxy.model import Classified, FinishedExchange, Interaction

NOW = 1_800_000_000.0


def exchange(seconds: float = 0.01, *, status: int = 200, refused: bool = False) -> FinishedExchange:
    classified = None if refused else Classified(Interaction.READ, "Patient")
    return FinishedExchange(classified, status, 0, 10, seconds, None, 1, "id", None)


def test_latest_exchanges_come_first_and_are_bounded() -> None:
    traffic = Traffic()
    for number in range(LATEST + 5):
        traffic.add(exchange(number / 1000), NOW + number)

    assert [number + 5 for number in reversed(range(LATEST))] == [one.milliseconds for one in traffic.latest]
    assert ("read Patient", 200, NOW + LATEST + 4) == (
        traffic.latest[0].interaction,
        traffic.latest[0].status,
        traffic.latest[0].at,
    )


def test_refused_request_shows_nothing_of_itself() -> None:
    traffic = Traffic()
    traffic.add(exchange(status=421, refused=True), NOW)

    assert "refused" == traffic.latest[0].interaction


def test_bars_are_the_last_five_minutes() -> None:
    traffic = Traffic()
    for at, status in ((NOW, 200), (NOW + 3, 500), (NOW + 12, 404), (NOW + 500, 200)):
        traffic.add(exchange(status=status), at)

    first = traffic.bars(NOW + 12)
    assert SPANS == len(first)
    assert [(0.2, 1), (0.1, 0)] == [(bar.per_second, bar.failures) for bar in first[-2:]]
    assert not any(bar.per_second for bar in first[:-2])
    assert [0.1] == [bar.per_second for bar in traffic.bars(NOW + 500) if bar.per_second]
    assert not any(bar.per_second for bar in traffic.bars(NOW + 500 + SPAN * SPANS))


def test_a_clock_that_goes_back_breaks_nothing() -> None:
    traffic = Traffic()
    for at in (NOW, NOW - 60, NOW):
        traffic.add(exchange(), at)

    assert SPANS == len(traffic.bars(NOW))


@given(st.lists(st.floats(0.001, BOUNDS[-1]), min_size=1, max_size=200))
def test_quantiles_are_told_within_a_class(seconds: list[float]) -> None:
    traffic = Traffic()
    for one in seconds:
        traffic.add(exchange(one), NOW)
    bar, ordered = traffic.bars(NOW)[-1], sorted(seconds)

    for told, share in ((bar.half_within, 0.5), (bar.most_within, 0.95)):
        true = ordered[math.ceil(share * len(ordered)) - 1]
        assert true <= told * 1.000001
        assert told <= true * 1.415


VALUES = [
    ([], ""),
    ([0.0, 0.0], ""),
    ([1.0, 0.0], "M0.0,60v-60.0h148.0V60z"),
    ([1.0, 2.0], "M0.0,60v-30.0h148.0V60zM150.0,60v-60.0h148.0V60z"),
]


@pytest.mark.parametrize(("values", "path"), VALUES)
def test_bars_are_drawn(values: list[float], path: str) -> None:
    assert path == bars(values, max(values, default=0))


STROKES = [
    ([], ""),
    ([2.0, 1.0], "M0.0,0.0H148.0L150.0,30.0H298.0"),
    ([2.0, 0.0, 1.0], "M0.0,0.0H98.0M200.0,30.0H298.0"),
]


@pytest.mark.parametrize(("values", "path"), STROKES)
def test_steps_are_drawn(values: list[float], path: str) -> None:
    assert path == steps(values, 2.0)


def test_numbers_are_told_in_words() -> None:
    traffic = Traffic()
    for _ in range(20):
        traffic.add(exchange(0.1), NOW)
    traffic.add(exchange(2.0, status=503), NOW)
    words = shown(traffic, NOW + 9)

    assert ("2.1", 1, "128 ms", "128 ms") == tuple(
        words[name] for name in ("most", "failures", "half", "nearly_all")
    )
    assert str(words["rate"]).startswith(f"M{WIDTH - WIDTH / SPANS:.1f},{HEIGHT}")
