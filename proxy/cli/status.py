"""`status`: which servers a proxy serves, who is signed in, and what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click
from rich.console import Console
from rich.markup import escape

from ..config.values import ListenAddress
from ..errors import ProxyUnavailable
from .admin import admin_option, ask

FOUND = 200
NOT_READY = 1


@click.command("status", short_help="Show what a running proxy serves, and what is wrong.")
@admin_option()
@click.option("--json", "as_json", is_flag=True, help="Print the answer of /api/status as it is.")
def command(address: ListenAddress, as_json: bool) -> None:
    """Show the state of every server; the exit status is 0 where all are ready, otherwise 1."""
    code, text = ask(address, "GET", "/api/status")
    if code != FOUND:
        raise ProxyUnavailable(f"{address} answers {code}: {text.strip()}")
    status = json.loads(text)
    if as_json:
        click.echo(json.dumps(status, indent=2, ensure_ascii=False))
    else:
        console = Console(highlight=False, soft_wrap=True)
        for server in status["servers"]:
            for line in _lines(server):
                console.print(line)
    raise SystemExit(0 if status["ready"] else NOT_READY)


def _lines(server: dict[str, object]) -> Iterator[str]:
    """One server, the mark of its state first."""
    mark = "[green]✓ ready[/]" if server["ready"] else "[red]✗ not ready[/]"
    yield f"{mark}  {_text(server['local_url'])} → {_text(server['base_url'])}"
    if server["why"]:
        yield f"  {_text(server['why'])}"
    if who := server["account"] or server["application"]:
        tenant = f" in the tenant {_text(server['tenant'])}" if server["tenant"] else ""
        yield f"  signed in by {_text(server['method'])} as {_text(who)}{tenant}"
    else:
        yield f"  method {_text(server['method'])}, nobody is signed in"
    if server["token_valid_until"]:
        yield f"  token valid until {_text(server['token_valid_until'])}"
    sign_in, warnings = server["sign_in"], server["warnings"]
    if isinstance(sign_in, dict) and sign_in["invitation"]:
        yield f"  waits for somebody: {_text(sign_in['invitation']['text'])}"
    for warning in warnings if isinstance(warnings, list) else ():
        yield f"  warning: {_text(warning['message'])} {_text(warning['hint'])}"
    problem = server["last_problem"]
    if isinstance(problem, dict):
        words = f"{problem['message']} {problem['hint']}".strip()
        yield f"  last problem, at {_text(problem['at'])}: {_text(words)}"


def _text(value: object) -> str:
    return escape(str(value))
