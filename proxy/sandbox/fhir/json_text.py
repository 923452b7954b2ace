"""JSON as text that survives: decimals are written as they were read, links as their spelling wants them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Self, TypeAlias

from .outcome import FhirError

Resource: TypeAlias = dict[str, object]

quote = json.encoder.encode_basestring
"""A JSON string, quotes included; characters outside ASCII stay as they are."""


class Number(float):
    """A JSON number with a fraction or an exponent; `text` is its spelling.

    FHIR R4, section 2.24.0.1 (decimal): the precision is part of the value, 1.10 is not 1.1.
    """

    text: str

    def __new__(cls, text: str) -> Self:
        """Return the number that the text spells."""
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __getnewargs__(self) -> tuple[str]:  # type: ignore[override]  # copied from its text, not its value
        """Let copy.deepcopy keep the spelling."""
        return (self.text,)


class Raw(str):
    """JSON text that is written as it stands: a stored resource inside a Bundle."""

    __slots__ = ()


class Link(str):
    """A URL that the server writes itself, in the JSON escapes of the link spelling."""

    __slots__ = ()


def unescaped(text: str) -> str:
    """Return JSON text without escapes other than the necessary ones."""
    return text


def read(text: str | bytes) -> Resource:
    """Return the resource, or raise FhirError 400 for what is not a JSON object with a resourceType."""
    try:
        value = json.loads(text, parse_float=Number, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise FhirError(400, "structure", f"The body is not JSON: {error}.") from error
    if not isinstance(value, dict) or not isinstance(value.get("resourceType"), str):
        raise FhirError(400, "structure", "The body is not a resource: it has no resourceType.")
    return value


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def write(value: object, escape: Callable[[str], str] = unescaped) -> str:
    """Return compact JSON; `escape` is applied to the text of each Link."""
    match value:
        case Raw():
            return str(value)
        case Link():
            return escape(quote(value))
        case str():
            return quote(value)
        case Number():
            return value.text
        case Mapping():
            return "{" + ",".join(f"{quote(key)}:{write(item, escape)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ",".join(write(item, escape) for item in value) + "]"
        case _:
            return json.dumps(value)


def at(value: object, path: str) -> Iterator[object]:
    """Yield what is found at a dotted path of element names, lists flattened."""
    name, _, rest = path.partition(".")
    for item in value if isinstance(value, list) else (value,):
        if isinstance(item, dict) and name in item:
            found = item[name]
            if rest:
                yield from at(found, rest)
            elif isinstance(found, list):
                yield from found
            else:
                yield found


def text_at(value: object, path: str, default: str = "") -> str:
    """Return the first string at the path."""
    return next((found for found in at(value, path) if isinstance(found, str)), default)
