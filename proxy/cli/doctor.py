"""`doctor`: print what proxy/doctor finds, for people or as JSON."""

from __future__ import annotations

import asyncio
import json
from types import MappingProxyType

import click
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from ..doctor import FORMAT, Finding, Report, Status, examine, unreadable
from ..errors import ConfigError
from .logs import clean, set_up_logging
from .options import read_settings, settings_command
from .terminal import terminal_seams

# Status -> mark and colour.
LOOKS = MappingProxyType(
    {
        Status.OK: ("✓", "green"),
        Status.WARNING: ("!", "yellow"),
        Status.FAILED: ("✗", "red"),
        Status.SKIPPED: ("-", "dim"),
    }
)
WIDTH = 23
"""Columns of mark and title; the longest title has 20."""


@settings_command(
    "Find out why it does not work: each step to the server, with cause and fix.",
    "fhir-auth-proxy doctor https://example.azurehealthcareapis.com",
    "fhir-auth-proxy doctor --config servers.toml --json",
    name="doctor",
    options=(
        click.Option(["as_json", "--json"], is_flag=True, help="Print one JSON document, for machines."),
    ),
)
def command(base_url: str | None, config_file: str | None, *, as_json: bool, **flags: object) -> None:
    """Walk the road to every configured server; exit with the number of the first step that failed."""
    set_up_logging("error", "text")
    console = Console(highlight=False)

    def show(finding: Finding) -> None:
        if not as_json:
            console.print(shown(finding, is_wrapped=console.is_terminal), soft_wrap=not console.is_terminal)

    try:
        config = read_settings(base_url, config_file, flags).config
    except ConfigError as error:
        reports = [unreadable(error)]
        for finding in reports[0].findings:
            show(finding)
    else:
        reports = []
        for server in config.servers:
            if len(config.servers) > 1 and not as_json:
                console.print(Text(f"\n{server.base_url}", "bold"))
            reports.append(asyncio.run(examine(server, terminal_seams(), show)))
    status = exit_status(reports)
    if as_json:
        click.echo(document_of(reports))
    click.get_current_context().exit(status)


def exit_status(reports: list[Report]) -> int:
    """That of the first server with a failure; 0 where all is well."""
    return next((report.exit_status for report in reports if report.exit_status), 0)


def shown(finding: Finding, *, is_wrapped: bool = False) -> RenderableType:
    """A finding as a person reads it: the verdict, and below it what to do.

    On a terminal long lines are wrapped within their column; in a pipe each stays one line.
    """
    verdict = finding.verdict
    mark, colour = LOOKS[verdict.status]
    first = verdict.found or ("skipped: " if verdict.status is Status.SKIPPED else "") + verdict.cause
    parts = [first, verdict.cause if verdict.found else "", f"Fix: {verdict.fix}" if verdict.fix else ""]
    lines = [clean(line) for part in parts for line in part.splitlines() if line]
    title = Text(f"{mark} {finding.title}".ljust(WIDTH), colour)
    if not is_wrapped:
        return title.append(f"\n{' ' * WIDTH}".join(lines), "default")
    grid = Table.grid()
    grid.add_column(min_width=WIDTH)
    grid.add_column(overflow="fold")
    grid.add_row(title, Text("\n".join(lines)))
    return grid


def document_of(reports: list[Report]) -> str:
    """The JSON document: format, exit status, and a report a server."""
    document = {
        "format": FORMAT,
        "exit_status": exit_status(reports),
        "servers": [report.document() for report in reports],
    }
    text = json.dumps(document, indent=2, ensure_ascii=False)
    return "\n".join(clean(line) for line in text.split("\n"))
