from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.sandbox.fhir.dates import PREFIXES, Interval, interval, parse

INTERVALS = (
    # text, low, length
    ("1980", datetime(1980, 1, 1, tzinfo=UTC), timedelta(days=366)),
    ("1981-02", datetime(1981, 2, 1, tzinfo=UTC), timedelta(days=28)),
    ("1980-02-29", datetime(1980, 2, 29, tzinfo=UTC), timedelta(days=1)),
    ("2024-05-06T07:08Z", datetime(2024, 5, 6, 7, 8, tzinfo=UTC), timedelta(minutes=1)),
    ("2024-05-06T07:08:09", datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC), timedelta(seconds=1)),
    (
        "2024-05-06T00:08:09.5+02:00",
        datetime(2024, 5, 5, 22, 8, 9, 500_000, tzinfo=UTC),
        timedelta(milliseconds=100),
    ),
    ("9999", datetime(9999, 1, 1, tzinfo=UTC), datetime.max - datetime(9999, 1, 1)),
)


@pytest.mark.parametrize(("text", "low", "length"), INTERVALS)
def test_a_date_covers_its_precision(text: str, low: datetime, length: timedelta) -> None:
    assert Interval(low, low + length) == interval(text)


NO_DATES = (
    "", "80", "1980-13", "1981-02-29", "0000", "1980-1-1", "2024-05-06T", "2024-05-06T25:00Z", "19\uff180",
    "2024-05-06T07:08:60Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
    "2024-05-06T07:08+99:99",    "1980\n", "xx1980",
)  # fmt: skip


@pytest.mark.parametrize("text", NO_DATES)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(text)


# found against the wanted year 1980, and the prefixes under which it matches (FHIR R4, 3.1.1.4.7)
COMPARED = (
    ("1979", {"ne", "lt", "le", "eb"}),
    ("1980", {"eq", "ge", "le", "ap"}),
    ("1980-06", {"eq", "ge", "le", "ap"}),
    ("1981-01-01", {"ne", "gt", "ge", "sa"}),
)


@pytest.mark.parametrize(("found", "expected"), COMPARED)
def test_a_prefix_compares(found: str, expected: set[str]) -> None:
    wanted = interval("1980")
    matching = {prefix for prefix, compare in PREFIXES.items() if compare(interval(found), wanted)}

    assert expected == matching


moments = st.datetimes(
    min_value=datetime(2, 1, 1), max_value=datetime(9998, 12, 31), timezones=st.just(UTC)
).map(lambda moment: moment.replace(microsecond=0))
precisions = st.sampled_from(("%Y", "%Y-%m", "%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"))


def spelled(moment: datetime, precision: str) -> str:
    return moment.strftime(precision.replace("%Y", f"{moment.year:04}"))


@settings(deadline=None)
@given(moments, precisions, st.sampled_from(["", *PREFIXES]))
def test_a_moment_lies_in_its_date_of_any_precision(moment: datetime, precision: str, prefix: str) -> None:
    found_prefix, found = parse(prefix + spelled(moment, precision))

    assert (prefix or "eq", True) == (found_prefix, found.low <= moment < found.high)


@settings(deadline=None)
@given(moments, precisions, moments, precisions)
def test_prefixes_agree_with_each_other(one: datetime, first: str, other: datetime, second: str) -> None:
    found, wanted = interval(spelled(one, first)), interval(spelled(other, second))
    holds = {prefix: compare(found, wanted) for prefix, compare in PREFIXES.items()}

    assert holds["ne"] != holds["eq"]
    assert holds["sa"] + holds["eb"] + holds["ap"] == 1
    assert holds["ge"] == (holds["gt"] or holds["eq"])
    assert holds["le"] == (holds["lt"] or holds["eq"])
    assert not holds["sa"] or holds["gt"]
    assert not holds["eb"] or holds["lt"]


@settings(deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_a_date_or_a_value_error(text: str) -> None:
    try:
        _, found = parse(text)
    except ValueError:
        return
    assert found.low < found.high
