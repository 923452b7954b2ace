"""`service`: let the operating system start the proxy when a person logs in."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click

from ..auth.identities import PERSON_METHODS_OR_AUTO
from ..errors import ConfigError
from .options import read_settings
from .services import planned
from .services.plan import Words

NAME = "fhir-auth-proxy"


def _named(_: click.Context, __: click.Parameter, name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise click.BadParameter("is made of letters, digits, dots and dashes")
    return name


named = click.option(
    "--name", default=NAME, show_default=True, callback=_named, help="For more than one proxy."
)
agreed = click.option("--yes", is_flag=True, help="Do not ask.")


@click.group("service", short_help="Start the proxy when you log in: install, remove.")
def command() -> None:
    """Let systemd, launchd or the Task Scheduler start the proxy when you log in."""


@command.command(short_help="Start it when you log in, and now.")
@click.option("config_file", "--config", required=True, metavar="FILE", help="TOML file with the settings.")
@click.option("--print", "is_printed", is_flag=True, help="Show what would be done, and do nothing.")
@named
@agreed
def install(config_file: str, name: str, *, is_printed: bool, yes: bool) -> None:
    """Install a service of your own, with the settings of a file; shows first what it writes and runs."""
    config = read_settings(None, config_file, {}).config
    plan = planned(name, _words(Path(config_file).absolute()), Path.home())
    _show(
        f"Writes {plan.path}:",
        plan.content.decode("utf-16" if plan.path.suffix == ".xml" else "utf-8"),
        plan.install,
    )
    if any(server.auth in PERSON_METHODS_OR_AUTO for server in config.servers):
        click.echo(f"Sign in first: fhir-auth-proxy login --config {config_file}", err=True)
    if is_printed:
        return
    _ask(yes=yes)
    try:
        plan.path.parent.mkdir(parents=True, exist_ok=True)
        plan.path.write_bytes(plan.content)
    except OSError as error:
        raise ConfigError(f"{plan.path} cannot be written: {error.strerror}") from error
    for words in plan.install:
        if problem := _problem(words):
            raise ConfigError(
                problem, hint=f"Mend it and call this again, or undo it by `{NAME} service remove`."
            )
    click.echo(f"{name} is installed and started. How it does: {plan.see}", err=True)


@command.command(short_help="Undo the installation.")
@named
@agreed
def remove(name: str, *, yes: bool) -> None:
    """Stop the service and remove it; the settings and what is kept of sign-ins stay."""
    plan = planned(name, _words(Path()), Path.home())
    if not plan.path.exists():
        raise ConfigError(f"{name} is not installed: there is no {plan.path}")
    _show(f"Removes {plan.path}", "", plan.remove)
    _ask(yes=yes)
    problems = [problem for words in plan.remove if (problem := _problem(words))]
    plan.path.unlink()
    for problem in problems:
        click.echo(f"{problem}; there was nothing to stop, or it ends when you log out", err=True)
    click.echo(f"{name} is removed.", err=True)


def _words(config_file: Path) -> Words:
    return sys.executable, "-P", "-m", __name__.partition(".")[0], "run", "--config", str(config_file)


def _show(first: str, text: str, commands: tuple[Words, ...]) -> None:
    click.echo(first)
    if text:
        click.echo("\n" + text.rstrip() + "\n")
    for words in commands:
        click.echo(f"Runs   {shlex.join(words)}")


def _ask(*, yes: bool) -> None:
    if not yes:
        click.confirm("Do it?", abort=True, err=True)


def _problem(words: Words) -> str | None:
    """Run a command of the system; what went wrong, in its own words."""
    try:
        result = subprocess.run(words, check=False, capture_output=True, text=True)  # noqa: S603  shown before
    except OSError as error:
        return f"{words[0]} cannot be run: {error.strerror}"
    if result.returncode == 0:
        return None
    return f"{shlex.join(words)} failed: {(result.stderr or result.stdout).strip() or result.returncode}"
