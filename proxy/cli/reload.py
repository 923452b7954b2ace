"""`reload`: have a proxy that runs take its settings anew, as SIGHUP would, from anywhere on its machine."""

from __future__ import annotations

import click

from ..config.values import ListenAddress
from ..errors import ConfigError, ProxyUnavailable
from .admin import admin_option, ask

DONE = 200
WRONG_SETTINGS = 422


@click.command("reload", short_help="Have a proxy that runs take its settings anew.")
@admin_option()
def command(address: ListenAddress) -> None:
    """Have the proxy read its configuration again; no request is dropped, and wrong settings change nothing."""
    status, text = ask(address, "POST", "/reload")
    if status == WRONG_SETTINGS:
        raise ConfigError(text.strip(), hint="The proxy goes on with the settings that it has.")
    if status != DONE:
        raise ProxyUnavailable(f"{address} answers {status}: {text.strip()}")
    click.echo(text.strip())
