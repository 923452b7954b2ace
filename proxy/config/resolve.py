"""Layers -> Effective settings, or one ConfigError with everything that is wrong, a line each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from ..errors import ConfigError
from ..model import BaseUrl
from .checks import ALTERNATIVES, CHECKS
from .layers import Found, Layer, Values
from .reading import WrongValues
from .settings import SETTINGS, Config, ServerConfig, Setting
from .values import MASK, ListenAddress

LONGEST_VALUE = 120
"""Characters of a value that a message quotes: more than any URL that is meant, less than a screen."""

# Stands in for a base URL that is wrong, so that the other settings are looked at all the same; there is no
# such host (RFC 2606 section 2).
_ANY_BASE_URL = BaseUrl("https", "fhir.invalid", 443)


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
        yield from _rows(self.config.plain(), self.process_values, per_server=False)

    def server_rows(self, number: int) -> Iterator[Row]:
        """The settings of a server, counted from 0."""
        plain = self.config.servers[number].plain()
        yield from _rows(plain, self.server_values[number], per_server=True)


def _rows(plain: Mapping[str, object], values: Values, *, per_server: bool) -> Iterator[Row]:
    for setting in SETTINGS.values():
        if setting.per_server == per_server:
            value = plain[setting.key]
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
    problems: list[str] = []
    servers: list[ServerConfig] = []
    wrong: list[set[str]] = []
    for number, values in enumerate(server_values):
        if "base_url" not in values:
            problems.append(_label(number, len(server_values)) + _missing(SETTINGS["base_url"]))
        settings, phrases = _read(values)
        problems += phrases
        wrong.append({key for key in ("base_url", *values) if key not in settings})
        servers.append(ServerConfig(**{"base_url": _ANY_BASE_URL, **settings}))
    settings, phrases = _read(process_values)
    config = Config(servers=tuple(servers), **settings)
    problems += phrases
    problems += _cross_check(config, server_values, wrong)
    return config, problems


def _read(values: Values) -> tuple[dict[str, Any], list[str]]:
    """What is right among the values, as the models hold it, and what is wrong with the others."""
    settings: dict[str, Any] = {}
    problems: list[str] = []
    for key, setting in SETTINGS.items():
        if key in values:
            try:
                settings[key] = setting.read(values[key].value)
            except WrongValues as error:
                source = values[key].source
                problems += (f"{_quote(key, Found(value, source))} {phrase}" for value, phrase in error.wrong)
    return settings, problems


def _missing(setting: Setting) -> str:
    key = setting.key
    return f"{key} is not given; name it as {setting.flag}, as {setting.variable}, or as {key} in the file"


def _cross_check(config: Config, server_values: Sequence[Values], wrong: Sequence[set[str]]) -> Iterator[str]:
    for number, server in enumerate(config.servers):
        plain = server.plain()
        for check in CHECKS:
            if wrong[number].isdisjoint(check.keys) and (phrase := check.find(server)):
                key = check.keys[0]
                found = server_values[number].get(key, Found(plain[key], "default"))
                yield f"{_label(number, len(config.servers))}{_quote(key, found)} {phrase}"
    listeners = [
        (number, server.listen)
        for number, server in enumerate(config.servers)
        if "listen" not in wrong[number]
    ]
    yield from _same_listener(listeners)
    admin = config.admin_listen
    if admin is not None and config.wants_admin_listener:
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
