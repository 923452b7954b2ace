from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import Fields, RequestHead, ResponseHead
from proxy.rules.interactions import classify
from proxy.rules.retries import RESERVE, SHORTEST_PAUSE, Pace, asked_pause, is_repeatable

NOW = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT

PAUSES: list[tuple[int, dict[str, str], float | None]] = [
    (429, {"Retry-After": "7"}, 7.0),
    (503, {"Retry-After": " 0 "}, 0.0),
    (429, {"x-ms-retry-after-ms": "20", "Retry-After": "1"}, 0.02),
    (429, {"x-ms-retry-after-ms": "soon", "Retry-After": "1"}, 1.0),
    (503, {"Retry-After": "Fri, 15 Jan 2027 08:00:30 GMT"}, 30.0),
    (503, {"Retry-After": "Fri, 15 Jan 2027 07:00:00 GMT"}, 0.0),
    (503, {"Retry-After": "Friday, 15-Jan-27 08:00:30 GMT"}, 30.0),  # RFC 850's form
    (429, {}, None),
    (429, {"Retry-After": ""}, None),
    (429, {"Retry-After": "-5"}, None),
    (429, {"Retry-After": "1e9"}, None),
    (429, {"Retry-After": "9" * 400}, None),
    (429, {"Retry-After": "in a while"}, None),
    (202, {"Retry-After": "120"}, None),  # a job that goes on
    (301, {"Retry-After": "1"}, None),
    (500, {"Retry-After": "1"}, None),
]


@pytest.mark.parametrize(("status", "fields", "seconds"), PAUSES)
def test_pause_is_what_the_server_asks_for(
    status: int, fields: dict[str, str], seconds: float | None
) -> None:
    assert seconds == asked_pause(ResponseHead(status, b"", Fields.of(fields.items())), NOW)


@given(value=st.binary(max_size=60), status=st.sampled_from([429, 503]))
def test_any_value_is_a_pause_or_none(value: bytes, status: int) -> None:
    pause = asked_pause(ResponseHead(status, b"", Fields(((b"Retry-After", value),))), NOW)

    assert pause is None or 0 <= pause < math.inf


REPEATABLE = [
    ("GET", "Patient/1", {}),
    ("HEAD", "Patient", {}),
    ("GET", "", {}),
    ("GET", "metadata", {}),
    ("GET", "Patient/1/$everything", {}),
    ("GET", "_operations/export/1", {}),
    ("GET", "vendor/path", {}),
    ("POST", "Patient/_search", {}),
    ("POST", "_search", {}),
    ("PUT", "Patient/1", {}),
    ("PUT", "/Patient/1/", {}),
    ("DELETE", "Patient/1", {}),
    ("POST", "Patient", {"If-None-Exist": "identifier=1"}),
]
NOT_REPEATABLE = [
    ("POST", "Patient", {}),
    ("POST", "", {}),
    ("POST", "", {"If-None-Exist": "identifier=1"}),
    ("PUT", "Patient", {}),
    ("PATCH", "Patient/1", {}),
    ("DELETE", "Patient", {}),
    ("DELETE", "", {}),
    ("DELETE", "Patient/1/_history", {}),
    ("DELETE", "_operations/export/1", {}),
    ("GET", "$export", {}),
    ("GET", "Patient/1/$reindex", {}),
    ("POST", "Patient/$validate", {}),
    ("GET", "Patient", {"Prefer": "return=minimal, Respond-Async"}),
    ("POST", "vendor/path", {}),
]


@pytest.mark.parametrize(
    ("method", "path", "fields", "expected"),
    [*((*row, True) for row in REPEATABLE), *((*row, False) for row in NOT_REPEATABLE)],
)
def test_what_is_safe_to_send_twice(method: str, path: str, fields: dict[str, str], expected: bool) -> None:
    head = RequestHead(method, b"/" + path.encode(), Fields.of(fields.items()))

    assert expected == is_repeatable(head, classify(method, path.encode()), path.encode())


def throttled(pace: Pace, under_way: int, pause: float = 5.0, at: float = NOW) -> None:
    """That many requests have been sent at once, and all are refused."""
    for _ in range(under_way):
        pace.begin()
    for _ in range(under_way):
        pace.throttled(pause, begun=at, now=at)
        pace.end()


def test_pause_ends_and_a_shorter_one_never_shortens_it() -> None:
    pace = Pace()
    throttled(pace, 1, pause=5.0)
    pace.throttled(1.0, begun=NOW, now=NOW + 1)

    assert [pace.pause(NOW + after) for after in (0, 1, 4, 5, 6)] == [5, 4, 1, 0, 0]


def test_pause_of_nothing_is_a_short_one() -> None:
    pace = Pace()
    throttled(pace, 1, pause=0.0)

    assert pace.pause(NOW) == pytest.approx(SHORTEST_PAUSE)


def test_clock_that_is_set_back_prolongs_no_pause() -> None:
    pace = Pace()
    throttled(pace, 1, pause=5.0)

    assert pace.pause(NOW - 3600) == 5


def room(pace: Pace) -> int:
    """How many requests may be under way."""
    count = 0
    while pace.has_room and count < 1000:
        pace.begin()
        count += 1
    for _ in range(count):
        pace.end()
    return count


def test_requests_refused_together_halve_the_limit_once() -> None:
    pace = Pace()
    throttled(pace, 40)

    assert room(pace) == 20


def test_refusals_of_the_next_round_halve_it_again_and_one_is_always_let_through() -> None:
    pace = Pace()
    rooms = []
    for number in range(6):
        throttled(pace, 8, at=NOW + number)
        rooms.append(room(pace))

    assert rooms == [4, 2, 1, 1, 1, 1]


def test_each_round_of_answers_adds_one_until_nothing_is_held_back() -> None:
    pace = Pace()
    throttled(pace, 4)
    rooms = [room(pace)]
    for _ in range(2):
        for _ in range(rooms[-1] + 1):
            pace.accepted()
        rooms.append(room(pace))
    for _ in range(256 * 256):
        pace.accepted()

    assert rooms == [2, 3, 4]
    assert room(pace) == 1000


def test_a_tenth_of_the_requests_may_be_sent_again_beyond_the_reserve() -> None:
    pace = Pace()
    repeated = 0
    for _ in range(1000):
        pace.begin()
        pace.end()
        repeated += pace.take_repetition()

    assert repeated <= RESERVE + 100
    assert repeated >= 100
