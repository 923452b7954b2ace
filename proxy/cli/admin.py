"""What `wait`, `status`, `reload` and `stop` share: questions to the admin listener of a proxy that runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection, HTTPException

import click

from ..config.settings import SETTINGS
from ..config.values import OFF, ListenAddress
from ..errors import ProxyUnavailable

ANSWER_SECONDS = 10.0
"""How long an answer is waited for; readiness itself takes up to five seconds."""

LOOPBACK = {"localhost": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - called, not bound
"""Where a listener is reached that goes by one of these names."""

SETTING = SETTINGS["admin_listen"]


def admin_option() -> Callable[[Callable[..., object]], Callable[..., object]]:
    """The option that says which proxy is meant."""
    return click.option(
        "--admin",
        "address",
        metavar="HOST:PORT",
        envvar=SETTING.variable,
        default=str(SETTING.default),
        show_default=True,
        callback=_address,
        help="Admin listener of the proxy that is meant.",
    )


def ask(address: ListenAddress, method: str, path: str) -> tuple[int, str]:
    """Status and text of one answer; ProxyUnavailable where nobody answers there.

    Environment variables for HTTP proxies do not count: this never leaves the machine.
    """
    host = LOOPBACK.get(address.host, address.host)
    try:
        with closing(HTTPConnection(host, address.port, timeout=ANSWER_SECONDS)) as connection:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
    except (OSError, HTTPException) as exc:
        raise ProxyUnavailable(
            f"No proxy answers at {address}.",
            hint="Is it running, with that admin_listen? Name another one with --admin.",
        ) from exc


def _address(_: click.Context, __: click.Parameter, value: str) -> ListenAddress:
    if value == OFF:
        raise click.BadParameter(f"{SETTING.variable} switches it off; name the proxy's own with --admin")
    try:
        return ListenAddress.parse(value)
    except ValueError as problem:
        raise click.BadParameter(f"{value!r} {problem}") from problem
