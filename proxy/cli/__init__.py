"""What a person types: one file a command, each loaded only when it is called.

This module imports nothing heavy, so that `--help` and `--version` answer at once. A command is a module with
a `command`, and a row in COMMANDS.
"""

from __future__ import annotations

import gc
import io
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

import click
from click.shell_completion import CompletionItem

from .. import __version__, fields
from ..errors import ConfigError, ProxyError

_KIND = "pure Python" if (fields.__file__ or "").endswith(".py") else "compiled"
"""Whether the modules of an exchange are those that mypyc has made, as hatch_build.py has it."""

EXIT_FAILED = 1
EXIT_WRONG_SETTINGS = 2
"""What click exits with when the command line is wrong; a wrong setting is the same to whoever typed it."""
EXIT_INTERRUPTED = 130
"""128 and the number of SIGINT, as shells count."""

EPILOG = """\b
Examples:
  fhir-auth-proxy demo
  fhir-auth-proxy run https://example.azurehealthcareapis.com
  fhir-auth-proxy run https://fhir.example.org/r4 --auth device-code
  fhir-auth-proxy doctor https://fhir.example.org/r4
  fhir-auth-proxy exec https://fhir.example.org/r4 -- python report.py
  fhir-auth-proxy config show --config servers.toml"""


@dataclass(frozen=True, slots=True)
class Listed:
    """A command before it is loaded: its module in this package, and its line in the help."""

    module: str
    summary: str


COMMANDS = MappingProxyType(
    {
        "run": Listed(".run", "Put a secured FHIR server on localhost."),
        "doctor": Listed(".doctor", "Find out why it does not work: each step to the server, with its fix."),
        "exec": Listed(".exec", "Run a command with a proxy of its own."),
        "login": Listed(".login", "Sign in now, so that a later start needs nobody."),
        "accounts": Listed(".accounts", "List who is signed in."),
        "logout": Listed(".logout", "Forget a sign-in."),
        "demo": Listed(".demo", "Show it all working, without an Azure account."),
        "wait": Listed(".wait", "Wait until a proxy that starts is ready."),
        "status": Listed(".status", "Show what a running proxy serves, and what is wrong."),
        "reload": Listed(".reload", "Have a proxy that runs take its settings anew."),
        "stop": Listed(".stop", "Stop a proxy that runs, once its exchanges are over."),
        "sandbox": Listed(".sandbox", "Start a tenant like Entra ID and a FHIR server, for your own tool."),
        "init": Listed(".init", "Write a configuration file, after three questions."),
        "service": Listed(".service", "Start the proxy when you log in: install, remove."),
        "completion": Listed(".completion", "Print what a shell needs to complete commands."),
        "config": Listed(".config", "Show the settings in effect, or the schema of the file."),
    }
)


class Failure(click.ClickException):
    """A ProxyError as a person reads it: a line for each thing that is wrong, then what to do."""

    exit_code = EXIT_FAILED

    def __init__(self, error: ProxyError) -> None:
        super().__init__(error.message)
        self.hint = error.hint

    def show(self, file: object = None) -> None:  # noqa: ARG002 - errors go to stderr, whatever click hands in
        """Print it on stderr."""
        for line in self.message.splitlines():
            click.echo(f"error: {line}", err=True)
        if self.hint:
            click.echo(f"hint: {self.hint}", err=True)


class WrongSettings(Failure):
    """A ConfigError as a person reads it."""

    exit_code = EXIT_WRONG_SETTINGS


class LazyGroup(click.Group):
    """The commands of COMMANDS."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Their names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of that name, loaded."""
        if cmd_name not in COMMANDS:
            return None
        # Next to nothing that is loaded becomes garbage; to look for it, on the way or right after, takes a tenth of
        # the time.
        gc.disable()
        command = import_module(COMMANDS[cmd_name].module, __name__).command
        gc.freeze()
        gc.enable()
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[cmd_name].module} has no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List them without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, listed.summary) for name, listed in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Their names and lines for a shell, without loading them; then the flags."""
        names = [
            CompletionItem(name, help=listed.summary)
            for name, listed in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; a failure that the proxy can tell becomes words and an exit status."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            raise WrongSettings(error) from error
        except ProxyError as error:
            raise Failure(error) from error
        except KeyboardInterrupt:
            ctx.exit(EXIT_INTERRUPTED)


@click.group(
    cls=LazyGroup,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(
    __version__,
    message=f"fhir-auth-proxy {__version__} ({Path(__file__).resolve().parents[1]}, {_KIND})",
)
def commands() -> None:
    """Let any FHIR tool use a FHIR server that is secured with Microsoft Entra ID."""


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        # Windows gives a pipe its code page, which cannot write every name that a server may have.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    commands(prog_name="fhir-auth-proxy")
