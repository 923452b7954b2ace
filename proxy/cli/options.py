"""The settings on a command line: a flag for each, made from the models, and help that is grouped."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from ..config.documents import default_text, describe
from ..config.layers import CONFIG_VARIABLE, Layer, environment_layers, file_layer, flag_layer
from ..config.resolve import Effective, resolve
from ..config.settings import SETTINGS, Setting
from ..errors import ConfigError

NAMING = f"""\
Each flag is an environment variable and a key of the --config file as well: --token-file is \
{SETTINGS["token_file"].variable} and token_file. A flag counts more than the environment, which counts more \
than the file. Secrets have no flag, since every process of the machine could read it: \
{", ".join(setting.variable for setting in SETTINGS.values() if setting.is_secret)}."""


class SettingOption(click.Option):
    """The flag of a setting; its value is checked with all others, and not by click."""

    def __init__(self, setting: Setting) -> None:
        name = setting.flag
        super().__init__(
            [setting.key, f"{name}/--no-{name.removeprefix('--')}" if setting.is_switch else name],
            type=bool if setting.is_switch else str,
            default=None,
            multiple=setting.is_list,
            metavar=None if setting.is_switch else setting.shown.metavar or "|".join(setting.choices),
            help=_help_text(setting),
        )
        self.setting = setting

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Flag and description; the negative of a switch is understood and not listed."""
        record = super().get_help_record(ctx)
        return (self.setting.flag, record[1]) if record and self.setting.is_switch else record


def _help_text(setting: Setting) -> str:
    default = default_text(setting)
    text = describe(setting) if setting.shown.metavar else setting.description
    text = f"{text} Repeatable." if setting.is_list else text
    return f"{text} [{default}]" if default and not setting.is_switch else text


def _group(parameter: click.Parameter) -> str:
    return parameter.setting.shown.group if isinstance(parameter, SettingOption) else "General"


class SettingsCommand(click.Command):
    """A command that takes settings: its help opens with examples and groups the flags."""

    examples: tuple[str, ...] = ()

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What the command does, then examples."""
        super().format_help_text(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write_text(example)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The flags, group by group."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            # Releases of click differ in whether an argument has a line of its own; the usage names it.
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                groups.setdefault(_group(parameter), []).append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The rule of names, told once."""
        formatter.write_paragraph()
        formatter.write_text(NAMING)


def settings_command(
    summary: str, *examples: str, name: str | None = None, options: tuple[click.Parameter, ...] = ()
) -> Callable[[Callable[..., object]], SettingsCommand]:
    """Make a command of a function that takes base_url, config_file, flags, and what more options give."""

    def decorate(function: Callable[..., object]) -> SettingsCommand:
        flags = [SettingOption(setting) for setting in SETTINGS.values() if setting.flag.startswith("--")]
        command = SettingsCommand(
            name or function.__name__,
            callback=function,
            help=summary,
            short_help=summary.partition(":")[0].rstrip(".") + ".",
            params=[
                click.Argument(["base_url"], required=False, metavar="[BASE_URL]"),
                click.Option(
                    ["config_file", "--config"],
                    metavar="FILE",
                    envvar=CONFIG_VARIABLE,
                    help="TOML file with settings; no file is read unless it is named.",
                ),
                *flags,
                *options,
            ],
        )
        command.examples = examples
        return command

    return decorate


def read_settings(base_url: str | None, config_file: str | None, flags: Mapping[str, object]) -> Effective:
    """All layers of this process put together; raises ConfigError."""
    azure, own = environment_layers(os.environ)
    files = [_read_file(Path(config_file))] if config_file else []
    return resolve([azure, *files, own, flag_layer({"base_url": base_url, **flags})])


def _read_file(path: Path) -> Layer:
    try:
        # Windows editors put a byte order mark before UTF-8, which is no TOML.
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"configuration file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"configuration file {path} is not UTF-8", hint="Save it as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"configuration file {path} is not TOML: {error}") from error
    return file_layer(document, path.name, path.parent.absolute())
