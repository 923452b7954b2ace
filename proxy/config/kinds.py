"""Kinds of values: how one is read from text or TOML, shown, and described in the JSON Schema.

Whatever cannot be read is a ValueError whose words follow the value, or WrongValues where several are wrong.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

T = TypeVar("T")

MASKED = "**********"

# With few enough digits for int() to read.
_WHOLE = re.compile(r"\s*[+-]?[0-9]{1,1000}(?:\.0*)?\s*")

TRUE = frozenset({"1", "on", "t", "true", "y", "yes"})
FALSE = frozenset({"0", "off", "f", "false", "n", "no"})


@dataclass(frozen=True, slots=True)
class Problem:
    """One wrong value: where it stands, what was there (it may be a secret), and words that follow it."""

    place: tuple[str | int, ...]
    value: object = field(repr=False)
    phrase: str


class WrongValues(ValueError):
    """Everything that is wrong, without the values."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(f"{'.'.join(map(str, one.place))} {one.phrase}" for one in problems))
        self.problems = problems


class Secret:
    """A text that does not print."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def get_secret_value(self) -> str:
        """The text."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret('{MASKED}')" if self._value else "Secret('')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


def _as_it_is(value: object) -> object:
    return value


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """What values a setting may have."""

    read: Callable[[object], T]
    schema: Mapping[str, object]
    plain: Callable[[T], object] = _as_it_is
    """The value as TOML or JSON has it."""
    choices: tuple[str, ...] = ()
    is_secret: bool = False
    is_list: bool = False
    is_switch: bool = False


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("is not text")  # noqa: TRY004  one class of errors for whatever is wrong with a value
    return value


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).lower() if isinstance(value, str | int) else ""
    if word not in TRUE | FALSE:
        raise ValueError("is neither true nor false")
    return word in TRUE


def _integer(value: object) -> int:
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value.partition(".")[0])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int):
        raise ValueError("is not a whole number")  # noqa: TRY004  as above
    return value


def _number(value: object) -> float:
    is_readable = isinstance(value, int | float) or (isinstance(value, str) and value.isascii())
    try:
        number = float(value) if is_readable else None  # type: ignore[arg-type]  # it has just been looked at
    except (ValueError, OverflowError):
        number = None
    if number is None:
        raise ValueError("is not a number")
    if not math.isfinite(number):
        raise ValueError("is not a finite number")
    return number


def _secret(value: object) -> Secret | None:
    return value if value is None or isinstance(value, Secret) else Secret(_text(value))


TEXT: Kind[str] = Kind(_text, {"type": "string"})
SWITCH: Kind[bool] = Kind(_switch, {"type": "boolean"}, is_switch=True)
SECRET: Kind[Secret | None] = Kind(
    _secret,
    {"type": "string", "format": "password", "writeOnly": True},
    lambda secret: None if secret is None else MASKED,
    is_secret=True,
)


def whole(least: int, most: int) -> Kind[int]:
    """A whole number."""

    def read(value: object) -> int:
        return _within(_integer(value), least, most)

    return Kind(read, {"type": "integer", "minimum": least, "maximum": most})


def above_zero(most: float) -> Kind[float]:
    """A number above zero."""

    def read(value: object) -> float:
        number = _number(value)
        if number <= 0:
            raise ValueError("is not above 0")
        return _within(number, 0, most)

    return Kind(read, {"type": "number", "exclusiveMinimum": 0, "maximum": most})


N = TypeVar("N", int, float)


def _within(number: N, least: N, most: N) -> N:
    if number < least:
        raise ValueError(f"is below {least:g}")
    if number > most:
        raise ValueError(f"is above {most:g}")
    return number


C = TypeVar("C", bound=str)


def one_of(*choices: C) -> Kind[C]:
    """One of a few words."""
    *first, last = (repr(str(choice)) for choice in choices)
    words = f"is not {', '.join(first)} or {last}"

    def read(value: object) -> C:
        for choice in choices:
            if choice == value:
                return choice
        raise ValueError(words)

    return Kind(read, {"type": "string", "enum": list(choices)}, choices=choices)


def text_that(check: Callable[[str], str], **schema: object) -> Kind[str]:
    """A text that is read further."""
    return replace(TEXT, read=lambda value: check(_text(value)), schema={**TEXT.schema, **schema})


def many(kind: Kind[T]) -> Kind[tuple[T, ...]]:
    """A list of such values; every one that is wrong is told."""

    def read(value: object) -> tuple[T, ...]:
        if not isinstance(value, list | tuple):
            raise ValueError('is not a list; write ["..."]')  # noqa: TRY004  as above
        found: list[T] = []
        problems: list[Problem] = []
        for number, element in enumerate(value):
            try:
                found.append(kind.read(element))
            except WrongValues as wrong:
                problems += [replace(one, place=(number, *one.place)) for one in wrong.problems]
            except ValueError as wrong:
                problems.append(Problem((number,), element, str(wrong)))
        if problems:
            raise WrongValues(tuple(problems))
        return tuple(found)

    def plain(values: tuple[T, ...]) -> object:
        return [kind.plain(value) for value in values]

    return Kind(read, {"type": "array", "items": dict(kind.schema)}, plain, is_list=True)
