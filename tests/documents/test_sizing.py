"""docs/sizing.md says what the simulation says; `python -m bench.sizing` writes it anew."""

from __future__ import annotations

from bench.sizing import CHART, COUNTS, LIVES, PAGE, alone, chart, together, written_anew


def test_tables_and_chart_are_those_of_the_simulation() -> None:
    text = PAGE.read_text("utf-8")

    assert written_anew(text) == text
    assert CHART.read_text("utf-8") == chart()


def test_sidecars_that_started_together_come_apart() -> None:
    count, life = COUNTS[-1], LIVES[0]
    in_step, spread = alone(count, life, spreads=False), alone(count, life, spreads=True)

    assert in_step.peak == count
    assert spread.peak < count / 20
    assert spread.hourly < 1.1 * in_step.hourly
    assert spread.peak < 3 * spread.hourly / 60


def test_shared_cache_spares_entra_whatever_the_count() -> None:
    for count in COUNTS:
        load = together(count, LIVES[0])

        assert load.first == 1
        assert load.hourly < 1.3
