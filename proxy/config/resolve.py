"""Layers -> Effective settings, or one ConfigError with everything that is wrong, a line each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from types import MappingProxyType

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ..errors import ConfigError
from .checks import ALTERNATIVES, CHECKS
from .layers import Found, Layer, Values
from .settings import SETTINGS, Config, Setting
from .values import ListenAddress

MASK = "********"
LONGEST_VALUE = 120
"""Characters of a value that a message quotes: more than any URL that is meant, less than a screen."""

# Stands in for a base URL that is wrong, so that the other settings are looked at all the same; there is no
# such host (RFC 2606 section 2).
_ANY_BASE_URL = "https://fhir.invalid"

# What pydantic's error types mean to the reader (https://docs.pydantic.dev/latest/errors/validation_errors/);
# the words follow the value.
_PHRASES = MappingProxyType(
    {
        "bool_parsing": "is neither true nor false",
        "bool_type": "is neither true nor false",
        "finite_number": "is not a finite number",
        "float_parsing": "is not a number",
        "float_type": "is not a number",
        "greater_than": "is not above {gt:g}",
        "greater_than_equal": "is below {ge:g}",
        "int_from_float": "is not a whole number",
        "int_parsing": "is not a whole number",
        "int_type": "is not a whole number",
        "less_than_equal": "is above {le:g}",
        "literal_error": "is not {expected}",
        "string_type": "is not text",
        "tuple_type": 'is not a list; write ["..."]',
        "value_error": "{error}",
    }
)


@dataclass(frozen=True, slots=True)
class Row:
    """One effective setting: `value` as text in TOML, secrets masked, None where it is not set."""

    key: str
    value: str | None
    source: str
    is_secret: bool


@dataclass(frozen=True, slots=True)
class Effective:
    """A valid configuration, and where each of its values came from."""

    config: Config
    process_values: Values = field(repr=False)
    server_values: tuple[Values, ...] = field(repr=False)

    def process_rows(self) -> Iterator[Row]:
        """The settings of the process."""
        yield from _rows(self.config.model_dump(mode="json"), self.process_values, per_server=False)

    def server_rows(self, number: int) -> Iterator[Row]:
        """The settings of a server, counted from 0."""
        dumped = self.config.servers[number].model_dump(mode="json")
        yield from _rows(dumped, self.server_values[number], per_server=True)


def _rows(dumped: Mapping[str, object], values: Values, *, per_server: bool) -> Iterator[Row]:
    for setting in SETTINGS.values():
        if setting.per_server == per_server:
            value = dumped[setting.key]
            shown = None if value is None else _as_text(setting, value)
            source = values[setting.key].source if setting.key in values else "default"
            yield Row(setting.key, shown, source, setting.is_secret)


def resolve(layers: Sequence[Layer]) -> Effective:
    """Put layers together, the weakest first; raises ConfigError."""
    count = max(1, *(len(layer.servers) for layer in layers)) if layers else 1
    problems = [*_strangers(layers), *_one_url_for_many(layers, count), *_said_twice(layers, count)]
    process_values = _merge([layer.shared for layer in layers], per_server=False)
    server_values = tuple(_merge(_for_server(layers, number), per_server=True) for number in range(count))
    config, wrong = _validate(process_values, server_values)
    problems += wrong
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))
    return Effective(config, process_values, server_values)


def _for_server(layers: Sequence[Layer], number: int) -> Iterator[Values]:
    for layer in layers:
        yield layer.shared
        if layer.servers:
            yield layer.servers[number]


def _merge(parts: Iterator[Values] | Sequence[Values], *, per_server: bool) -> dict[str, Found]:
    merged: dict[str, Found] = {}
    for part in parts:
        for key, found in part.items():
            if key not in SETTINGS or SETTINGS[key].per_server != per_server:
                continue
            for pair in ALTERNATIVES:
                if key in pair:
                    merged = {name: value for name, value in merged.items() if name not in pair}
            merged[key] = found
            if found.value == "":
                del merged[key]
    return merged


def _strangers(layers: Sequence[Layer]) -> Iterator[str]:
    """Keys that are no setting; their values are not quoted, since any of them may be a secret."""
    for layer in layers:
        for key, found in layer.shared.items():
            if key == "server":
                yield f"server ({found.source}) is not a list of tables; write [[server]] above each server"
            elif key not in SETTINGS:
                yield _unknown(key, found, SETTINGS)
        for table in layer.servers:
            for key, found in table.items():
                if key not in SETTINGS:
                    yield _unknown(key, found, SETTINGS)
                elif not SETTINGS[key].per_server:
                    yield (
                        f"{_quote(key, found)} holds for the whole process; write it at the top of the file, "
                        "above the first [[server]]"
                    )


def _unknown(key: str, found: Found, known: Mapping[str, Setting]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415  for a mistake alone

    near = get_close_matches(key.lower().replace("-", "_"), known, n=1)
    hint = ""
    if near:
        name = known[near[0]].variable if found.source.startswith("environment ") else near[0]
        hint = f"; did you mean {name}?"
    return f"{key} ({found.source}) is not a setting{hint}"


def _one_url_for_many(layers: Sequence[Layer], count: int) -> Iterator[str]:
    for layer in layers:
        if count > 1 and not layer.servers and "base_url" in layer.shared:
            yield (
                f"{_quote('base_url', layer.shared['base_url'])} is one server, and the configuration file "
                f"has {count}; leave one of the two out"
            )


def _said_twice(layers: Sequence[Layer], count: int) -> Iterator[str]:
    for number in range(count):
        for part in _for_server(layers, number):
            for pair in ALTERNATIVES:
                if all(key in part and part[key].value != "" for key in pair):
                    first, second = (_quote(key, part[key]) for key in pair)
                    yield f"{first} and {second} say the same; keep one"


def _validate(process_values: Values, server_values: Sequence[Values]) -> tuple[Config, list[str]]:
    """The configuration, with what is wrong left out of it, and what that is."""
    servers = [{key: found.value for key, found in values.items()} for values in server_values]
    document: dict[str, object] = {key: found.value for key, found in process_values.items()}
    problems: list[str] = []
    wrong: list[set[str]] = [set() for _ in servers]
    try:
        config = Config.model_validate({**document, "server": servers})
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            match detail["loc"]:
                case ("server", int(number), str(key), *_):
                    label = _label(number, len(servers)) if key not in server_values[number] else ""
                    problems.append(label + _phrase(key, server_values[number].get(key), detail))
                    wrong[number].add(key)
                    servers[number].pop(key, None)
                case (str(key), *_) if key in process_values:
                    problems.append(_phrase(key, process_values[key], detail))
                    document.pop(key, None)
        right = [{"base_url": _ANY_BASE_URL, **server} for server in servers]
        config = Config.model_validate({**document, "server": right})
    problems += _cross_check(config, server_values, wrong)
    return config, problems


def _cross_check(config: Config, server_values: Sequence[Values], wrong: Sequence[set[str]]) -> Iterator[str]:
    for number, server in enumerate(config.servers):
        dumped = server.model_dump(mode="json")
        for check in CHECKS:
            if wrong[number].isdisjoint(check.keys) and (phrase := check.find(server)):
                key = check.keys[0]
                found = server_values[number].get(key, Found(dumped[key], "default"))
                yield f"{_label(number, len(config.servers))}{_quote(key, found)} {phrase}"
    listeners = [
        (number, server.listen)
        for number, server in enumerate(config.servers)
        if "listen" not in wrong[number]
    ]
    yield from _same_listener(listeners)
    admin = config.admin_listen
    if admin is not None and "admin_listen" in config.model_fields_set:
        for number, address in listeners:
            if admin.overlaps(address):
                yield f'admin_listen = "{admin}" is the listener of server {number + 1}; give it a port of its own'


def _same_listener(listeners: Sequence[tuple[int, ListenAddress]]) -> Iterator[str]:
    for (first, address), (second, other) in combinations(listeners, 2):
        if address.overlaps(other):
            yield (
                f'listen = "{other}" of server {second + 1} is taken by server {first + 1} ("{address}"); '
                "give each server a port of its own, or port 0"
            )


def _label(number: int, count: int) -> str:
    return f"server {number + 1}: " if count > 1 else ""


def _phrase(key: str, found: Found | None, detail: ErrorDetails) -> str:
    if found is None:
        setting = SETTINGS[key]
        return (
            f"{key} is not given; name it as {setting.flag}, as {setting.variable}, or as {key} in the file"
        )
    phrase = _PHRASES.get(detail["type"])
    words = phrase.format(**detail.get("ctx", {})) if phrase else f"is wrong: {detail['msg']}"
    # One element of a list is wrong, and the list may be long.
    element = Found(detail["input"], found.source) if len(detail["loc"]) > 3 else found
    return f"{_quote(key, element)} {words}"


def _quote(key: str, found: Found) -> str:
    return f"{key} = {_as_text(SETTINGS[key], found.value)} ({found.source})"


def _as_text(setting: Setting, value: object) -> str:
    """A value as TOML writes it: a secret masked, and what people put into URLs to sign in with as well."""
    if setting.is_secret:
        return f'"{MASK}"'
    text = json.dumps(value, ensure_ascii=False, default=str)
    if setting.shown.holds_password:
        text = re.sub(r"\"(\w*://)?.*@", rf'"\1{MASK}@', text)
    text = re.sub(r"(?<=//)[^/@\s\"]+(?=@)", MASK, text)
    text = re.sub(r"(?<=\?)[^\"]+", MASK, text)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."
