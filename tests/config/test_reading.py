from __future__ import annotations

from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from proxy.config.reading import Reads, WrongValues, read, read_list

Count = Annotated[int, Meta(ge=1, le=9)]
Share = Annotated[float, Meta(gt=0, le=1)]
Choice = Literal["red", "green", "blue"]
RIGHT = [
    (bool, True, True),
    (bool, "true", True),
    (bool, "FALSE", False),
    (bool, "1", True),
    (bool, 0, False),
    (int, "8", 8),
    (int, " 8\n", 8),
    (bool, "true ", True),
    (str, " a ", " a "),
    (Count, 3.0, 3),
    (Share, "0.5", 0.5),
    (Share, 1, 1.0),
    (str, "", ""),
    (Choice, "red", "red"),
    (Annotated[str, Reads(str.upper)], "a", "A"),
    (Annotated[bytes, Reads(bytes.hex)], b"\1", "01"),
]


@pytest.mark.parametrize(("kind", "value", "expected"), RIGHT)
def test_value_is_read(kind: object, value: object, expected: object) -> None:
    found = read(kind, value)

    assert (type(expected), expected) == (type(found), found)


WRONG = [
    (bool, "yes", "is neither true nor false"),
    (bool, 2, "is neither true nor false"),
    (int, "1.5", "is not a whole number"),
    (int, True, "is not a whole number"),
    (int, None, "is not a whole number"),
    (Count, 0, "is below 1"),
    (Count, "10", "is above 9"),
    (Count, 10**30, "is above 9"),
    (Share, 0, "is not above 0"),
    (Share, float("nan"), "is not above 0"),
    (Share, "inf", "is above 1"),
    (Share, 10**400, "is out of range"),
    (Share, "x", "is not a number"),
    (str, 5, "is not text"),
    (str, ["a"], "is not text"),
    (Choice, "pink", "is not 'red', 'green' or 'blue'"),
    (Choice, 1, "is not 'red', 'green' or 'blue'"),
    (Annotated[str, Reads(str.upper)], 5, "is not text"),
]


@pytest.mark.parametrize(("kind", "value", "phrase"), WRONG)
def test_wrong_value_says_why(kind: object, value: object, phrase: str) -> None:
    with pytest.raises(WrongValues) as raised:
        read(kind, value)

    assert ([phrase], phrase) == ([phrase for _, phrase in raised.value.wrong], str(raised.value))
    assert raised.value.wrong[0][0] is value


def test_list_is_read() -> None:
    assert read_list(Count, ["1", 2]) == (1, 2)


def test_every_wrong_element_is_told() -> None:
    with pytest.raises(WrongValues) as raised:
        read_list(Count, [0, 1, "x"])

    assert [(0, "is below 1"), ("x", "is not a whole number")] == raised.value.wrong


def test_what_is_no_list_is_told() -> None:
    with pytest.raises(WrongValues, match="is not a list"):
        read_list(str, "abc")


kinds = st.sampled_from([bool, int, float, str, Count, Share, Choice])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
values = scalars | st.lists(scalars) | st.dictionaries(st.text(), scalars) | st.dates()


@given(kind=kinds, value=values)
def test_any_value_is_read_or_a_reason(kind: object, value: object) -> None:
    reason = "is"
    try:
        read(kind, value)
    except WrongValues as error:
        reason = str(error)

    assert "is" == reason.partition(" ")[0]


@given(kind=st.sampled_from([int, float]), number=st.integers(-(2**53), 2**53))
def test_number_survives_its_text(kind: type, number: int) -> None:
    assert number == read(kind, str(number))
