from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.kinds import (
    SECRET,
    SWITCH,
    TEXT,
    Kind,
    Problem,
    Secret,
    WrongValues,
    above_zero,
    many,
    one_of,
    whole,
)
from proxy.config.models import Model, field

PORT = whole(0, 65535)
SECONDS = above_zero(60)

READ = [
    # as TOML gives it
    (TEXT, "a", "a"),
    (SWITCH, True, True),
    (PORT, 80, 80),
    (SECONDS, 1, 1.0),
    (SECONDS, 0.5, 0.5),
    # as the environment gives it
    *((SWITCH, text, True) for text in ("1", "on", "t", "TRUE", "y", "Yes")),
    *((SWITCH, text, False) for text in ("0", "off", "f", "False", "n", "no")),
    (PORT, " 80 ", 80),
    (PORT, "80.0", 80),
    (PORT, "+80", 80),
    (PORT, 80.0, 80),
    (SECONDS, "1e1", 10.0),
    (SECONDS, 60, 60.0),
    # more than one
    (many(TEXT), ["a", "b"], ("a", "b")),
    (many(PORT), ("1",), (1,)),
    (one_of("on", "off"), "off", "off"),
    (SECRET, None, None),
    (SECRET, "s", Secret("s")),
    (SECRET, Secret("s"), Secret("s")),
]


@pytest.mark.parametrize(("kind", "value", "expected"), READ)
def test_value_is_read(kind: Kind[object], value: object, expected: object) -> None:
    found = kind.read(value)

    assert (expected, type(expected)) == (found, type(found))


WRONG = [
    (TEXT, 1, "is not text"),
    (SWITCH, "", "is neither true nor false"),
    (SWITCH, 2, "is neither true nor false"),
    (SWITCH, [], "is neither true nor false"),
    *(
        (PORT, value, "is not a whole number")
        for value in ("", "1.5", 1.5, "٣", "0x10", "1_0", None, math.inf)
    ),
    (PORT, "1" * 5000, "is not a whole number"),
    (PORT, -1, "is below 0"),
    (PORT, 65536, "is above 65535"),
    *((SECONDS, value, "is not a number") for value in ("", "1 s", "٣", None, [])),
    *((SECONDS, value, "is not a finite number") for value in (math.inf, math.nan, "inf", "-Infinity")),
    (SECONDS, 0, "is not above 0"),
    (SECONDS, 61, "is above 60"),
    (one_of("on", "off"), "of", "is not 'on' or 'off'"),
    (one_of("a", "b", "c"), 1, "is not 'a', 'b' or 'c'"),
    (many(TEXT), "a", 'is not a list; write ["..."]'),
    (SECRET, 1, "is not text"),
]


@pytest.mark.parametrize(("kind", "value", "phrase"), WRONG)
def test_wrong_value_says_why(kind: Kind[object], value: object, phrase: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011  the words are compared below
        kind.read(value)

    assert phrase == str(raised.value)


def test_every_wrong_element_is_told_with_its_place() -> None:
    with pytest.raises(WrongValues) as raised:
        many(many(PORT)).read([["1", "x"], "y", ["-1"]])

    assert raised.value.problems == (
        Problem((0, 1), "x", "is not a whole number"),
        Problem((1,), "y", 'is not a list; write ["..."]'),
        Problem((2, 0), "-1", "is below 0"),
    )


anything = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists)


@given(st.sampled_from([TEXT, SWITCH, PORT, SECONDS, SECRET, many(TEXT), one_of("a", "b")]), anything)
def test_whatever_is_written_is_read_or_a_reason(kind: Kind[object], value: object) -> None:
    reason = ""
    try:
        found = kind.read(value)
    except ValueError as error:
        reason = str(error)
    else:
        assert kind.read(found) == found

    assert not reason or "is n" in reason or "is above" in reason or "is below" in reason


def test_secret_does_not_print() -> None:
    secret = Secret("not-for-eyes")

    assert "not-for-eyes" not in f"{secret} {secret!r} {SECRET.plain(secret)}"
    assert (secret.get_secret_value(), secret, hash(secret)) == (
        "not-for-eyes",
        Secret("not-for-eyes"),
        hash(Secret("not-for-eyes")),
    )


class Table(Model):
    """Two fields, one of which has to be there."""

    name: str = field(TEXT)
    port: int = field(PORT, None, 80)


def test_default_is_not_counted_as_given() -> None:
    table = Table.model_validate({"name": "a"})

    assert (table.name, table.port, table.model_fields_set) == ("a", 80, {"name"})


def test_change_leaves_the_first_as_it_was() -> None:
    table = Table(name="a")
    other = table.model_copy(update={"port": 1})

    assert (table.port, other.port, other.model_fields_set) == (80, 1, {"name", "port"})


def test_same_values_are_the_same() -> None:
    assert Table(name="a") == Table(name="a", port=80)
    assert hash(Table(name="a")) == hash(Table(name="a", port=80))
    assert Table(name="a") != Table(name="b")


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(WrongValues) as raised:
        Table(port="x", other=1)

    assert raised.value.problems == (
        Problem(("name",), None, "is not given"),
        Problem(("port",), "x", "is not a whole number"),
        Problem(("other",), 1, "is not a setting"),
    )
