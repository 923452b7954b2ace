"""`stop`: end a proxy that runs, as SIGTERM would, from anywhere on its machine."""

from __future__ import annotations

import click

from ..config.values import ListenAddress
from ..errors import ProxyUnavailable
from .admin import admin_option, ask

DONE = 200


@click.command("stop", short_help="Stop a proxy that runs, once its exchanges are over.")
@admin_option()
def command(address: ListenAddress) -> None:
    """Ask the proxy to stop; running exchanges get its drain_timeout. Made for jobs, and for Windows."""
    status, text = ask(address, "POST", "/quitquitquit")
    if status != DONE:
        raise ProxyUnavailable(f"{address} answers {status}: {text.strip()}")
    click.echo(f"{address} is stopping")
