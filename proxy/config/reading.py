"""A value as a layer has it, plain or as text -> the value that a setting holds, or why it is none."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args, get_origin

from msgspec import ValidationError, convert

PLAIN_KINDS = frozenset({bool, int, float, str})
"""What msgspec reads from text as well."""

# What msgspec says of a value (https://jcristharif.com/msgspec/usage.html#validation), and what that means to the
# reader: the words follow the value.
_EXPECTED = re.compile(r"Expected `(?P<kind>\w+)`(?: (?P<bound>[<>]=?) (?P<number>\S+)|, got .*)")
_KINDS: Mapping[str, str] = MappingProxyType(
    {
        "bool": "is neither true nor false",
        "float": "is not a number",
        "int": "is not a whole number",
        "str": "is not text",
    }
)
_BOUNDS: Mapping[str, str] = MappingProxyType({">": "is not above", ">=": "is below", "<=": "is above"})


class WrongValues(ValueError):
    """A value, or elements of a list, are wrong; the text holds none of them, since each may be a secret."""

    def __init__(self, wrong: Sequence[tuple[object, str]]) -> None:
        super().__init__("; ".join(phrase for _, phrase in wrong))
        self.wrong = wrong
        """Each that is wrong, with a phrase that follows it."""


@dataclass(frozen=True, slots=True, eq=False)  # types in annotations are compared by what is beside them
class Reads:
    """Beside a type: a function that reads its values, and raises ValueError with a phrase that follows the value.

    Values of a plain type come to it as that type; those of every other one come as they are.
    """

    function: Callable[[Any], object]
    schema: Mapping[str, object] | None = None
    """The JSON Schema of what it takes, where that is not the type's."""


def read(kind: object, value: object) -> object:
    """The value as `kind` holds it: a type, which may have msgspec's Meta and `Reads` beside it.

    Text is taken for numbers, true and false as well, since an environment has nothing else. Raises WrongValues.
    """
    return _read_each(kind, [value])[0]


def read_list(kind: object, value: object) -> tuple[object, ...]:
    """The elements of a list, each read as `kind`; raises WrongValues with all that are wrong."""
    if not isinstance(value, list | tuple):
        raise WrongValues([(value, 'is not a list; write ["..."]')])
    return _read_each(kind, value)


def choices_of(plain: object) -> tuple[str, ...]:
    """The values of a Literal; none of another type."""
    return get_args(plain) if get_origin(plain) is Literal else ()


def _read_each(kind: object, values: Sequence[object]) -> tuple[object, ...]:
    elements: list[object] = []
    wrong: list[tuple[object, str]] = []
    for element in values:
        try:
            elements.append(_read(kind, element))
        except ValueError as error:
            wrong.append((element, str(error)))
    if wrong:
        raise WrongValues(wrong)
    return tuple(elements)


def _read(kind: object, value: object) -> object:
    plain, *marks = get_args(kind) if get_origin(kind) is Annotated else (kind,)
    choices = choices_of(plain)
    if choices or plain in PLAIN_KINDS:
        if isinstance(value, str) and plain is not str:
            value = value.strip()
        try:
            value = convert(value, kind, strict=False)
        except ValidationError as error:
            raise ValueError(_phrase(str(error), choices)) from None
    for mark in marks:
        if isinstance(mark, Reads):
            value = mark.function(value)
    return value


def _phrase(message: str, choices: Sequence[str]) -> str:
    if choices:
        *others, last = map(repr, choices)
        return f"is not {', '.join(others)} or {last}"
    found = _EXPECTED.fullmatch(message)
    if found is None:
        return "is out of range"  # what no number of the machine holds
    if bound := found["bound"]:
        return f"{_BOUNDS[bound]} {float(found['number']):g}"
    return _KINDS[found["kind"]]
