"""The settings described: the JSON Schema of the configuration file, and the table of docs/settings.md."""

from __future__ import annotations

from .models import MISSING, Field
from .server_settings import ServerConfig
from .settings import SETTINGS, Config, Setting

JsonObject = dict[str, object]


def json_schema() -> JsonObject:
    """The JSON Schema (draft 2020-12) of the TOML file: settings at the top and in `[[server]]` tables."""
    server = {key: _property(found) for key, found in ServerConfig.fields.items()}
    process = {key: _property(found) for key, found in Config.fields.items() if key != "servers"}
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
                "description": Config.fields["servers"].description,
                "items": {"type": "object", "additionalProperties": False, "properties": server},
            },
        },
    }


def _property(found: Field[object]) -> JsonObject:
    """A setting as a property; TOML has no null to write as a default."""
    has_default = found.default is not MISSING and found.default is not None
    default = {"default": found.default if found.default != () else []} if has_default else {}
    return {**default, "description": found.description, **found.kind.schema}


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
