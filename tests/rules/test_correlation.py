from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import Fields
from proxy.rules.correlation import id_lines, identified, new_id

MADE = "0a1b2c3d"


def fields(*ids: bytes) -> Fields:
    return Fields(tuple((b"x-request-ID", value) for value in ids))


def test_request_without_an_id_gets_one() -> None:
    assert identified(Fields(), MADE) == (MADE.encode(), MADE)


def test_ids_differ_and_are_plain() -> None:
    made = {new_id() for _ in range(100)}

    assert len(made) == 100
    assert {32} == set(map(len, made))
    assert all(identified(fields(one.encode()), MADE) == (one.encode(), one) for one in made)


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (b"7", "7"),
        (b"4bf92f35-77b3.4da6_a:1", "4bf92f35-77b3.4da6_a:1"),
        (b"x" * 65, MADE),
        (b"Peter Chalmers", MADE),
        (b"", MADE),
        (b"a\xffb", MADE),
        (b"a\n2026 INFO forged", MADE),
    ],
)
def test_own_id_goes_on_as_it_is_and_only_a_plain_one_is_logged(own: bytes, expected: str) -> None:
    assert identified(fields(own), MADE) == (own, expected)


@given(own=st.binary(max_size=80))
def test_logged_id_is_one_plain_word(own: bytes) -> None:
    _, logged = identified(fields(own), MADE)

    assert logged.isascii()
    assert logged.isprintable()
    assert not set(logged) & set(" \"'{}()=")


@pytest.mark.parametrize(
    ("told", "request_id", "expected"),
    [
        ((), b"1", ((b"X-Request-Id", b"1"),)),
        (((b"X-REQUEST-ID", b"2"),), b"1", ()),
        ((), b"", ()),
    ],
)
def test_id_is_added_where_none_is_told(
    told: tuple[tuple[bytes, bytes], ...], request_id: bytes, expected: tuple[tuple[bytes, bytes], ...]
) -> None:
    assert expected == id_lines(Fields(told), request_id)
