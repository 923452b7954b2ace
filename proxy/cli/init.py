"""`init`: three questions, a configuration file, and whether it works."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ..config.layers import file_layer
from ..config.resolve import resolve
from ..config.settings import SETTINGS
from ..config.starting import METHODS, first_file
from ..errors import ConfigError
from ..model import BaseUrl
from .doctor import command as doctor

NAME = "fhir-auth-proxy.toml"


@click.command(
    "init",
    short_help="Write a configuration file, after three questions.",
    epilog="""\b
Examples:
  fhir-auth-proxy init
  fhir-auth-proxy init https://fhir.example.org/r4 --auth device-code --port 8080 --client-id GUID""",
)
@click.argument("base_url", required=False)
@click.option("--auth", type=click.Choice(list(METHODS)), help="How to sign in.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port on localhost; 0 takes a free one at each start."
)
@click.option("--client-id", help="Application (client) id of the app registration.")
@click.option("--tenant", help="Entra tenant, as GUID or domain name.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=NAME,
    show_default=True,
    help="The file.",
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option(
    "--doctor/--no-doctor", "is_examined", default=True, help="Try the file at once.", show_default=True
)
@click.pass_context
def command(
    ctx: click.Context,
    base_url: str | None,
    auth: str | None,
    port: int | None,
    client_id: str | None,
    tenant: str | None,
    output: Path,
    *,
    force: bool,
    is_examined: bool,
) -> None:
    """Write a commented configuration file for one server, then walk the road to it as `doctor` does.

    What is given here is not asked. The exit status is doctor's: 0 if all is well.
    """
    if output.exists() and not force:
        raise ConfigError(f"{output} is there already", hint="Name another by --output, or give --force.")
    base_url = base_url or click.prompt("Base URL of the FHIR server", err=True, value_proc=_base_url)
    if auth is None:
        for method, who in METHODS.items():
            click.echo(f"  {method:<19} {who}", err=True)
        auth = click.prompt(
            "Way to sign in", "auto", err=True, type=click.Choice(list(METHODS)), show_choices=False
        )
    if port is None:
        port = click.prompt("Port on localhost", 8080, err=True, type=click.IntRange(0, 65535))
    method = next(method for method in METHODS if method == auth)
    given = {"base_url": base_url, "listen": f"localhost:{port}", "client_id": client_id, "tenant": tenant}
    chosen = {key: value for key, value in given.items() if value}
    resolve([file_layer(chosen, output.name, output.parent)])
    _write(output, first_file(method, chosen, str(output)))
    click.echo(f"{output} is written.", err=True)
    if is_examined:
        ctx.invoke(doctor, base_url=None, config_file=str(output), as_json=False, **dict.fromkeys(_flags()))


def _flags() -> list[str]:
    return [key for key, setting in SETTINGS.items() if setting.flag.startswith("--")]


def _base_url(text: str) -> str:
    try:
        BaseUrl.parse(text.strip())
    except ValueError as error:
        raise click.BadParameter(f"{text!r} {error}") from error
    return text.strip()


def _write(path: Path, text: str) -> None:
    """Write it whole or not at all, and for oneself: others must not say where the token goes."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(
            os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as file:
            file.write(text)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
