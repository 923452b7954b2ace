"""The settings described: the JSON Schema of the configuration file, and the table of docs/settings.md."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic_core import PydanticUndefined

from .settings import SETTINGS, Config, ServerConfig, Setting

JsonObject = dict[str, object]


def json_schema() -> JsonObject:
    """The JSON Schema (draft 2020-12) of the TOML file: settings at the top and in `[[server]]` tables."""
    server = _properties(ServerConfig.model_json_schema())
    process = _properties(Config.model_json_schema(by_alias=True))
    tables = process.pop("server")
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
                "description": tables["description"],
                "items": {"type": "object", "additionalProperties": False, "properties": server},
            },
        },
    }


def _properties(model_schema: Mapping[str, object]) -> dict[str, JsonObject]:
    properties = model_schema["properties"]
    if not isinstance(properties, dict):
        raise TypeError("a model's schema has properties")
    return {key: _property(schema) for key, schema in properties.items()}


def _property(schema: JsonObject) -> JsonObject:
    """A property without what TOML has not (null), and without titles that repeat the key."""
    kept = {name: value for name, value in schema.items() if name != "title"}
    kinds = kept.pop("anyOf", None)
    if isinstance(kinds, list):
        del kept["default"]
        for kind in kinds:
            if kind != {"type": "null"}:
                kept |= kind
    return kept


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
    if default is PydanticUndefined or default is None or default in ("", ()):
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)
