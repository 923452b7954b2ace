"""The settings on a command line: a flag for each, made from the models, and help that is grouped."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from ..config.documents import default_text, describe
from ..config.layers import CONFIG_VARIABLE, Found, Layer, environment_layers, file_layer, flag_layer
from ..config.resolve import Effective, resolve
from ..config.settings import SETTINGS, Setting
from ..errors import ConfigError
from .container import is_container

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
            shell_complete=self._completed,
        )
        self.setting = setting

    def _completed(self, _: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """What a shell offers as the value: a choice, a file, or nothing."""
        if self.setting.shown.names_file:
            return [CompletionItem(incomplete, type="file")]
        return [CompletionItem(choice) for choice in self.setting.choices if choice.startswith(incomplete)]

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
    summary: str,
    *examples: str,
    name: str | None = None,
    options: tuple[click.Parameter, ...] = (),
    without: Collection[str] = (),
    cls: type[SettingsCommand] = SettingsCommand,
) -> Callable[[Callable[..., object]], SettingsCommand]:
    """Make a command of a function that takes base_url, config_file, flags, and what more options give.

    `without` are keys of settings that mean nothing to the command.
    """

    def decorate(function: Callable[..., object]) -> SettingsCommand:
        flags = [
            SettingOption(setting)
            for key, setting in SETTINGS.items()
            if setting.flag.startswith("--") and key not in without
        ]
        command = cls(
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


def read_settings(
    base_url: str | None,
    config_file: str | None,
    flags: Mapping[str, object],
    weak: Mapping[str, object] | None = None,
) -> Effective:
    """All layers of this process put together, over a command's own `weak` defaults; raises ConfigError."""
    own_defaults = Layer({key: Found(value, "default") for key, value in (weak or {}).items()})
    azure, own = environment_layers(os.environ)
    files = [_read_file(Path(config_file))] if config_file else []
    return resolve([own_defaults, azure, *files, own, flag_layer({"base_url": base_url, **flags})])


def _check_owner(path: Path, found: os.stat_result) -> None:
    """Refuse a file that others may write: it says where the token goes. ssh does the same with its own."""
    if sys.platform == "win32" or not stat.S_ISREG(found.st_mode):
        return
    # A container has no other users, and what is mounted there belongs to one of its host.
    if found.st_uid not in {0, os.geteuid()} and not is_container(os.environ):
        raise ConfigError(
            f"configuration file {path} belongs to another user, who could send your token elsewhere",
            hint="Copy it, so that it is yours.",
        )
    others = stat.S_IWOTH if _is_private_group(found.st_gid, found.st_uid) else stat.S_IWGRP | stat.S_IWOTH
    if found.st_mode & others:
        raise ConfigError(
            f"configuration file {path} can be written by others, who could send your token elsewhere",
            hint=f"chmod go-w {path}",
        )


def _is_private_group(group_id: int, user_id: int) -> bool:
    """Whether a group is a user's own, as Debian and Fedora give to each: its right to write is the user's."""
    if sys.platform == "win32":
        return True
    import grp  # noqa: PLC0415  there is none on Windows
    import pwd  # noqa: PLC0415  as above

    try:
        group, user = grp.getgrgid(group_id), pwd.getpwuid(user_id)
    except KeyError:
        return False
    return user.pw_gid == group_id and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def _read_file(path: Path) -> Layer:
    import tomllib  # noqa: PLC0415  many a start has no file

    try:
        # Windows editors put a byte order mark before UTF-8, which is no TOML.
        with path.open(encoding="utf-8-sig") as file:
            _check_owner(path, os.fstat(file.fileno()))
            document = tomllib.loads(file.read())
    except OSError as error:
        raise ConfigError(f"configuration file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"configuration file {path} is not UTF-8", hint="Save it as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"configuration file {path} is not TOML: {error}") from error
    return file_layer(document, path.name, path.parent.absolute())
