"""`config`: what is in effect and why, and what a configuration file may hold."""

from __future__ import annotations

import json
from collections.abc import Iterable

import click

from ..config.documents import json_schema
from ..config.resolve import Row
from .options import read_settings, settings_command


@click.group(name="config")
def command() -> None:
    """Show the settings in effect, or the schema of the file."""


@settings_command(
    "Print the settings in effect: TOML, secrets masked, and where each came from.",
    "fhir-auth-proxy config show --config servers.toml",
    "fhir-auth-proxy config show https://fhir.example.org/r4 --auth device-code",
    name="show",
)
def show(base_url: str | None, config_file: str | None, **flags: object) -> None:
    """Print the effective settings."""
    effective = read_settings(base_url, config_file, flags)
    click.echo(_table(effective.process_rows()))
    for number in range(len(effective.config.servers)):
        click.echo(f"\n[[server]]\n{_table(effective.server_rows(number))}")


def _table(rows: Iterable[Row]) -> str:
    lines = [(_line(row), row.source) for row in rows]
    width = max(len(line) for line, _ in lines)
    return "\n".join(f"{line:<{width}}  # {source}" for line, source in lines)


def _line(row: Row) -> str:
    """A line of TOML; a comment where there is no value, or none that could be pasted."""
    if row.value is None:
        return f"# {row.key} is not set"
    return f"# {row.key} = {row.value}" if row.is_secret else f"{row.key} = {row.value}"


@click.command(short_help="Print the JSON Schema of the configuration file.")
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors and checks."""
    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


command.add_command(show)
command.add_command(schema)
