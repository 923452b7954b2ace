"""`exec`: one command with a proxy of its own, which lives as long as the command."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence

import click

from ..config import Config
from ..errors import ConfigError
from ..server import Proxy
from .child import COMMAND_NOT_FOUND, NOT_EXECUTABLE, child_environment, run_child
from .logs import set_up_logging
from .options import SettingsCommand, read_settings, settings_command
from .terminal import terminal_seams

URL_PLACE = "{url}"
"""What stands in an argument for the local base URL."""

FREE_PORT = "localhost:0"

WEAK_SETTINGS = {"log_level": "warning"}
"""What differs from the defaults of `run`: the terminal is the command's, so only what is wrong is logged."""


class WrappingCommand(SettingsCommand):
    """A command whose words after `--` are another command, untouched."""

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """The usage, with what follows `--`."""
        return [*super().collect_usage_pieces(ctx), "--", "COMMAND", "[ARGUMENT]..."]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read what stands before the first `--`, and keep what stands after it."""
        end = args.index("--") if "--" in args else len(args)
        wrapped = args[end + 1 :]
        rest = super().parse_args(ctx, args[:end])
        if not wrapped and not ctx.resilient_parsing:
            raise click.UsageError("Name the command after --, such as: -- python report.py", ctx)
        ctx.params["wrapped"] = tuple(wrapped)
        return rest


@settings_command(
    "Run a command with a proxy of its own: its address is in FHIR_BASE_URL and FHIR_SERVER_URL, and stands "
    "wherever an argument says {url}. A person signs in before the command starts; the exit status is the "
    "command's.",
    "fhir-auth-proxy exec https://example.azurehealthcareapis.com -- python report.py",
    "fhir-auth-proxy exec https://fhir.example.org/r4 -- curl {url}/metadata",
    name="exec",
    without=("admin_listen", "workers"),
    cls=WrappingCommand,
)
def command(base_url: str | None, config_file: str | None, wrapped: Sequence[str], **flags: object) -> None:
    """Start the proxy, run the command, and exit as it does."""
    flags["listen"] = flags["listen"] or FREE_PORT
    config = read_settings(base_url, config_file, flags, WEAK_SETTINGS).config
    set_up_logging(config.log_level, config.log_format)
    program = shutil.which(wrapped[0])
    if program is None:
        click.echo(f"error: {wrapped[0]}: there is no such command", err=True)
        raise SystemExit(COMMAND_NOT_FOUND)
    raise SystemExit(asyncio.run(_run(config, program, wrapped[1:])))


async def _run(config: Config, program: str, arguments: Sequence[str]) -> int:
    if len(config.servers) > 1:
        raise ConfigError(
            f"exec wraps one server, and the configuration file has {len(config.servers)}.",
            hint="Name one server as BASE_URL, with a file that has no [[server]] tables.",
        )
    proxy = Proxy(config.servers[0], terminal_seams())
    try:
        await proxy.start()
        await proxy.sign_in()
        filled = [argument.replace(URL_PLACE, proxy.url) for argument in arguments]
        try:
            return await run_child(program, filled, child_environment(os.environ, proxy.url))
        except OSError as exc:
            click.echo(f"error: {program}: cannot be started: {exc.strerror}", err=True)
            return NOT_EXECUTABLE
    finally:
        await proxy.stop(config.drain_timeout)
