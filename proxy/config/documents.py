"""The settings described: the JSON Schema of the configuration file, and the table of docs/settings.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from msgspec.json import schema

from .reading import Reads
from .settings import SETTINGS, Setting, plain

JsonObject = dict[str, object]


def json_schema() -> JsonObject:
    """The JSON Schema (draft 2020-12) of the TOML file: settings at the top and in `[[server]]` tables."""
    server = {setting.key: _property(setting) for setting in SETTINGS.values() if setting.per_server}
    process = {setting.key: _property(setting) for setting in SETTINGS.values() if not setting.per_server}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of fhir-auth-proxy",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            **server,
            **process,
            "server": {
                "type": "array",
                "description": "One table a server; a key at the top holds for all of them.",
                "items": {"type": "object", "additionalProperties": False, "properties": server},
            },
        },
    }


def _property(setting: Setting) -> JsonObject:
    described: JsonObject = {"description": setting.description}
    if setting.is_list:
        described |= {"type": "array", "items": _value(setting)}
    else:
        described |= _value(setting)
    if setting.default is not None:
        described["default"] = plain(setting.default)
    return described


def _value(setting: Setting) -> Mapping[str, object]:
    """The schema of its value; of a list, that of an element."""
    if setting.choices:
        return {"type": "string", "enum": list(setting.choices)}
    marks = get_args(setting.kind)[1:]
    given = (mark.schema for mark in marks if isinstance(mark, Reads) and mark.schema)
    return next(given, None) or schema(setting.kind)


def settings_table() -> str:
    """All settings as a Markdown table."""
    head = ["| key | flag | environment | default | what it is |", "|---|---|---|---|---|"]
    return "\n".join([*head, *map(_table_row, SETTINGS.values())]) + "\n"


def _table_row(setting: Setting) -> str:
    flag = f"`{setting.flag}`" if setting.flag else "none: a secret"
    if setting.shown.singular:
        flag += ", repeatable"
    variables = f"`{setting.variable}`"
    if setting.shown.ecosystem:
        variables += f", `{setting.shown.ecosystem}`"
    return f"| `{setting.key}` | {flag} | {variables} | {_default(setting)} | {describe(setting)} |"


def _default(setting: Setting) -> str:
    text = default_text(setting)
    return f"`{text}`" if text else "required" if setting.is_required else "none"


def describe(setting: Setting) -> str:
    """What a setting is, with its choices."""
    if not setting.choices:
        return setting.description
    return f"{setting.description} One of {', '.join(setting.choices)}."


def default_text(setting: Setting) -> str:
    """A setting's default as one would write it; empty where nothing is set."""
    default = setting.default
    if default is None or default in ("", ()):
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)
