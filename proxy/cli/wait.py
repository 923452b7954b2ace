"""`wait`: until the proxy is ready, for scripts, jobs and containers that come after it."""

from __future__ import annotations

from time import monotonic, sleep

import click

from ..config.values import ListenAddress
from ..errors import ProxyUnavailable
from .admin import admin_option, ask

PAUSE_SECONDS = 0.2
"""Between two questions: a proxy starts in less than a second."""

READY = 200


@click.command("wait", short_help="Wait until a proxy that starts is ready.")
@admin_option()
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait.",
)
def command(address: ListenAddress, timeout: float) -> None:
    """Wait until the proxy can serve a request: it is signed in, and the server answers.

    Exits with 0 as soon as it is ready, and with 1 and the reason when the time is over.
    """
    until = monotonic() + timeout
    while True:
        why = _unready(address)
        if not why:
            return
        if monotonic() >= until:
            raise ProxyUnavailable(f"Not ready within {timeout:g} seconds. {why}")
        sleep(PAUSE_SECONDS)


def _unready(address: ListenAddress) -> str:
    try:
        status, text = ask(address, "GET", "/readyz")
    except ProxyUnavailable as nobody:
        return f"{nobody.message} {nobody.hint}"
    return "" if status == READY else text.strip()
