"""FHIR dates as intervals, and the ten prefixes that compare them (FHIR R4, section 3.1.1.4.7)."""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

FIRST = datetime.min.replace(tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)

_DATE = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d\d)(?:-(?P<day>\d\d)"
    r"(?:T(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d{1,6})\d*)?)?"
    r"(?P<zone>Z|[+-]\d\d:\d\d)?)?)?)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Interval:
    """From `low`, included, to `high`, excluded."""

    low: datetime
    high: datetime


def interval(text: str) -> Interval:
    """Return the time that a date or dateTime of any precision covers, or raise ValueError.

    A time without a zone is taken as UTC, as Microsoft's server does.
    """
    match = _DATE.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text}' is not a FHIR date")
    year, month, day = int(match["year"]), int(match["month"] or 1), int(match["day"] or 1)
    if match["hour"] is None:
        low = datetime(year, month, day, tzinfo=UTC)
        length = timedelta(days=1)
        if match["day"] is None:
            days = calendar.monthrange(year, month)[1] if match["month"] else 365 + calendar.isleap(year)
            length = timedelta(days=days)
        return Interval(low, _later(low, length))
    zone = "+00:00" if match["zone"] in {None, "Z"} else match["zone"]
    clock = f"{match['hour']}:{match['minute']}:{match['second'] or '00'}"
    low = datetime.fromisoformat(f"{text[:10]}T{clock}{zone}")
    fraction = match["fraction"]
    if fraction is not None:
        low = low.replace(microsecond=int(fraction.ljust(6, "0")))
        length = timedelta(microseconds=10 ** (6 - len(fraction)))
    else:
        length = timedelta(seconds=1) if match["second"] else timedelta(minutes=1)
    return Interval(_in_utc(low), _later(_in_utc(low), length))


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{moment} is outside the years 1 to 9999") from error


def _later(moment: datetime, length: timedelta) -> datetime:
    return moment + length if LAST - moment > length else LAST


Comparison = Callable[[Interval, Interval], bool]


def equal(found: Interval, wanted: Interval) -> bool:
    """Whether the wanted interval contains the found one."""
    return wanted.low <= found.low and found.high <= wanted.high


def overlaps(found: Interval, wanted: Interval) -> bool:
    """Whether the two have a moment in common."""
    return found.low < wanted.high and wanted.low < found.high


PREFIXES: MappingProxyType[str, Comparison] = MappingProxyType(
    {
        "eq": equal,
        "ne": lambda found, wanted: not equal(found, wanted),
        "gt": lambda found, wanted: found.high > wanted.high,
        "lt": lambda found, wanted: found.low < wanted.low,
        "ge": lambda found, wanted: found.high > wanted.high or equal(found, wanted),
        "le": lambda found, wanted: found.low < wanted.low or equal(found, wanted),
        "sa": lambda found, wanted: found.low >= wanted.high,
        "eb": lambda found, wanted: found.high <= wanted.low,
        "ap": overlaps,
    }
)


def parse(text: str) -> tuple[str, Interval]:
    """Return prefix and interval of a search value such as `ge1980-02`, or raise ValueError."""
    prefix, date = (text[:2], text[2:]) if text[:2] in PREFIXES else ("eq", text)
    return prefix, interval(date)
