from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from proxy import __version__, fields
from proxy.cli import COMMANDS, Failure, commands
from proxy.errors import ConfigError, UpstreamUnreachable

ROOT = Path(__file__).parents[2]
HEAVY = ("aiohttp", "asyncio", "cryptography", "msal", "msgspec", "requests", "rich")

# What a service manager may leave out.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in {"HOME", "USERPROFILE"}}


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_version_names_number_and_place() -> None:
    done = python("-m", "proxy", "--version")

    assert (done.returncode, done.stderr) == (0, "")
    kind = "pure Python" if fields.__file__.endswith(".py") else "compiled"
    assert done.stdout == f"fhir-auth-proxy {__version__} ({ROOT / 'proxy'}, {kind})\n"


@pytest.mark.parametrize("flag", ["--help", "-h", "--version"])
def test_first_words_load_nothing_heavy(flag: str) -> None:
    script = (
        "import sys; from proxy.cli import commands\n"
        f"commands([{flag!r}], standalone_mode=False)\n"
        f"print('loaded:', [name for name in {HEAVY!r} if name in sys.modules])"
    )

    assert python("-c", script).stdout.splitlines()[-1] == "loaded: []"


def test_help_lists_every_command_with_its_line() -> None:
    lines = CliRunner().invoke(commands, ["--help"], terminal_width=200).output.splitlines()

    assert [(name, listed.summary) for name, listed in COMMANDS.items()] == [
        tuple(line.split(maxsplit=1))
        for line in lines
        if line.split(" ")[2:3] and line.split()[0] in COMMANDS
    ]


def test_command_that_does_not_exist_is_refused() -> None:
    result = CliRunner().invoke(commands, ["rum"])

    assert result.exit_code == 2
    assert "No such command 'rum'" in result.stderr


def test_table_names_modules_that_are_there() -> None:
    missing = [
        name
        for name, listed in COMMANDS.items()
        if not (ROOT / "proxy" / "cli" / f"{listed.module.removeprefix('.')}.py").is_file()
    ]

    assert missing == []


class Stand(click.Command):
    """A command that fails as it is told."""

    def __init__(self, failure: BaseException) -> None:
        super().__init__("stand", callback=self.fail)
        self.failure = failure

    def fail(self) -> None:
        raise self.failure


FAILURES = [
    (ConfigError("a is wrong\nb is wrong"), 2, "error: a is wrong\nerror: b is wrong\n"),
    (UpstreamUnreachable("no way", hint="Look."), 1, "error: no way\nhint: Look.\n"),
    (KeyboardInterrupt(), 130, ""),
]


@pytest.mark.parametrize(("failure", "status", "told"), FAILURES, ids=["settings", "other", "interrupt"])
def test_failure_becomes_words_and_exit_status(failure: BaseException, status: int, told: str) -> None:
    group = type(commands)("group", commands={"stand": Stand(failure)})
    group.get_command = lambda ctx, cmd_name: group.commands.get(cmd_name)  # type: ignore[method-assign]
    result = CliRunner().invoke(group, ["stand"])

    assert (status, "", told) == (result.exit_code, result.stdout, result.stderr)


def test_failure_shows_on_stderr_alone(capsys: pytest.CaptureFixture[str]) -> None:
    Failure(ConfigError("wrong", hint="Right it.")).show()

    assert tuple(capsys.readouterr()) == ("", "error: wrong\nhint: Right it.\n")


def test_wrong_settings_end_the_program_with_2() -> None:
    done = python("-m", "proxy", "config", "show", "nowhere", "--listen", "0.0.0.0:80")

    assert (done.returncode, done.stdout) == (2, "")
    assert [" ".join(line.split()[:3]) for line in done.stderr.splitlines()] == [
        "error: base_url =",
        "error: listen =",
    ]


def test_output_is_utf_8_whatever_the_system_says() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "config", "show", "https://h", "--audience", "Zoë"],
        cwd=ROOT,
        env=ENVIRONMENT | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=60,
        check=True,
    )

    assert 'audience = "Zoë"' in done.stdout.decode("utf-8")
