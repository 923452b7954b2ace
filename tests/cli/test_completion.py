from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from proxy.cli import COMMANDS, commands
from proxy.cli.completion import HOW_TO, PROGRAM, VARIABLE
from proxy.config.settings import SETTINGS


def script(shell: str) -> str:
    result = CliRunner().invoke(commands, ["completion", shell], catch_exceptions=False)

    assert 0 == result.exit_code
    return result.stdout


@pytest.mark.parametrize("shell", [shell for shell in HOW_TO if shell != "powershell"])
def test_script_asks_the_program(shell: str) -> None:
    assert f"{VARIABLE}={shell}_complete" in script(shell)


def test_shell_that_is_not_known_is_refused() -> None:
    result = CliRunner().invoke(commands, ["completion", "tcsh"])

    assert 2 == result.exit_code
    assert "powershell" in result.stderr


def test_help_tells_the_line_for_each_shell() -> None:
    text = CliRunner().invoke(commands, ["completion", "--help"]).stdout

    assert all(line in text for line in HOW_TO.values())


OFFERED = [
    # Words before, what is typed -> what is offered
    ((), "st", ["status", "stop"]),
    ((), "--v", ["--version"]),
    (("run", "--auth"), "client-s", ["client-secret"]),
    (("exec", "--auth"), "inter", ["interactive"]),
    (("run", "--log-format"), "", ["text", "json"]),
    (("run",), "--admin", ["--admin-listen"]),
    (("run", "--tenant"), "", []),
    (("run", "--token-file"), "to", ["to"]),
    (("config",), "s", ["schema", "show"]),
    (("completion",), "p", ["powershell"]),
]


@pytest.mark.parametrize(("before", "typed", "expected"), OFFERED)
def test_what_is_offered(before: tuple[str, ...], typed: str, expected: list[str]) -> None:
    found = ShellComplete(commands, {}, PROGRAM, VARIABLE).get_completions(list(before), typed)

    assert sorted(expected) == sorted(item.value for item in found)


def test_files_are_left_to_the_shell() -> None:
    (found,) = ShellComplete(commands, {}, PROGRAM, VARIABLE).get_completions(["run", "--token-file"], "to")

    assert "file" == found.type


@pytest.mark.skipif(sys.platform == "win32" or not shutil.which("bash"), reason="there is no bash")
def test_bash_completes(tmp_path: Path) -> None:
    program = tmp_path / PROGRAM
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m proxy "$@"\n')
    program.chmod(0o700)
    lines = (
        script("bash"),
        f"COMP_WORDS=({PROGRAM} run --auth dev); COMP_CWORD=3",
        f'_fhir_auth_proxy_completion {PROGRAM}; echo "${{COMPREPLY[@]}}"',
    )
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        env={**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )

    assert "device-code\n" == done.stdout


def rows(text: str, table: str) -> dict[str, list[str]]:
    """A hash table of the PowerShell script."""
    body = re.search(rf"\${table} = @\{{\n(.*?)\n    \}}", text, re.DOTALL)
    assert body is not None
    found = {}
    for line in body[1].splitlines():
        name, words = re.fullmatch(r"\s*'((?:[^']|'')*)' = @\((.*)\)", line).groups()  # type: ignore[union-attr]
        found[name] = re.findall(r"'((?:[^']|'')*)'", words)
    return found


def test_powershell_knows_every_word() -> None:
    text = script("powershell")
    words, values = rows(text, "words"), rows(text, "values")

    assert list(COMMANDS) == [word for word in words[""] if not word.startswith("-")]
    assert {"", *COMMANDS, "config show", "config schema", "service install", "service remove"} == set(words)
    for name in COMMANDS:
        command = commands.get_command(click.Context(commands), name)
        assert command is not None
        flags = {flag for parameter in command.params for flag in parameter.opts if flag.startswith("--")}
        assert flags <= set(words[name])
    assert list(SETTINGS["auth"].choices) == values["run --auth"]
    assert values["demo --auth"] != values["run --auth"]


def test_powershell_script_is_balanced() -> None:
    text = re.sub(r"'(?:[^']|'')*'|\"[^\"]*\"", "", script("powershell"))

    assert all(text.count(opening) == text.count(closing) for opening, closing in ("{}", "()", "[]"))
    assert "'" not in text
