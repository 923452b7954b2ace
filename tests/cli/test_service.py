from __future__ import annotations

import os
import plistlib
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from proxy.cli import commands
from proxy.cli.services import PLANNERS, planned
from proxy.cli.services.systemd import _quoted
from proxy.cli.services.task_scheduler import NAMESPACE
from proxy.errors import ConfigError

WORDS = ("/opt/my python/bin/python", "-P", "-m", "proxy", "run", "--config", "/home/ada/50% & <mine>.toml")
HOME = Path("/home/ada")


def text_of(platform: str) -> bytes:
    return planned("fhir", WORDS, HOME, platform).content


def test_unit_of_systemd_runs_the_words() -> None:
    assert b'ExecStart="/opt/my python/bin/python" "-P"' in text_of("linux")
    assert b"50%% & <mine>.toml" in text_of("linux")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_unit_is_understood_by_systemd(tmp_path: Path) -> None:
    unit = tmp_path / "fhir.service"
    unit.write_bytes(planned("fhir", (sys.executable, *WORDS[1:]), tmp_path, "linux").content)
    result = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], check=False, capture_output=True, text=True
    )

    assert (0, "") == (result.returncode, result.stderr)


@given(st.text(st.characters(blacklist_categories=["Cc", "Cs"])))
def test_systemd_reads_any_word_as_it_was(word: str) -> None:
    quoted = _quoted(word)[1:-1]
    read = quoted.replace("%%", "%").replace("$$", "$").replace('\\"', '"').replace("\\\\", "\\")

    assert word == read or "\\" in word


def test_launch_agent_runs_the_words() -> None:
    agent = plistlib.loads(text_of("darwin"))

    assert list(WORDS) == agent["ProgramArguments"]
    assert agent["RunAtLoad"]


def test_task_runs_the_words_as_the_person_without_a_window() -> None:
    words = ("C:\\Python 3\\python.exe", *WORDS[1:-1], "C:\\Users\\Ada L\\50% & <mine>.toml")
    task = ElementTree.fromstring(planned("fhir", words, HOME, "win32").content)
    found = {element.tag.removeprefix(f"{{{NAMESPACE}}}"): element.text for element in task.iter()}

    assert ("C:\\Python 3\\pythonw.exe", subprocess.list2cmdline(words[1:])) == (
        found["Command"],
        found["Arguments"],
    )
    assert ("LeastPrivilege", "InteractiveToken") == (found["RunLevel"], found["LogonType"])


def test_other_systems_are_told_what_to_do() -> None:
    with pytest.raises(ConfigError, match="freebsd"):
        planned("fhir", WORDS, HOME, "freebsd14")


@pytest.mark.parametrize("platform", PLANNERS)
def test_installation_is_the_persons_own(platform: str) -> None:
    assert planned("fhir", WORDS, HOME, platform).path.is_relative_to(HOME)


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "my.toml"
    path.write_text('base_url = "https://fhir.example.org"\nauth = "anonymous"\n', "utf-8")
    path.chmod(0o600)
    return path


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the system's own programs are called with; they are stand-ins that write it down."""
    record, programs = tmp_path / "asked", tmp_path / "bin"
    programs.mkdir()
    for name in ("systemctl", "launchctl"):
        program = programs / name
        program.write_text(f'#!/bin/sh\necho "$(basename "$0") $*" >> "{record}"\n[ -z "$BROKEN" ] || {{ echo "$BROKEN" >&2; exit 1; }}\n', "utf-8")  # fmt: skip
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    record.touch()
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "platform", "linux")
    return record


def service(*arguments: str, answers: str = "") -> Result:
    return CliRunner().invoke(commands, ["service", *arguments], input=answers)


posix = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts")


@posix
def test_service_is_installed_and_removed(config_file: Path, asked: Path, tmp_path: Path) -> None:
    unit = tmp_path / "home/.config/systemd/user/fhir-auth-proxy.service"
    installed = service("install", "--config", str(config_file), "--yes")
    is_there = str(config_file) in unit.read_text("utf-8")
    removed = service("remove", "--yes")

    assert (0, True, 0, False) == (installed.exit_code, is_there, removed.exit_code, unit.exists())
    assert [
        "systemctl --user daemon-reload",
        "systemctl --user enable fhir-auth-proxy.service",
        "systemctl --user restart fhir-auth-proxy.service",
        "systemctl --user disable --now fhir-auth-proxy.service",
        "systemctl --user daemon-reload",
    ] == asked.read_text("utf-8").splitlines()


@posix
@pytest.mark.parametrize(("flag", "answers"), [("--print", ""), ("--name=fhir-auth-proxy", "n\n")])
def test_nothing_is_done_unless_agreed(
    config_file: Path, asked: Path, tmp_path: Path, flag: str, answers: str
) -> None:
    result = service("install", "--config", str(config_file), flag, answers=answers)

    assert "ExecStart=" in result.stdout
    assert "Runs   systemctl --user enable fhir-auth-proxy.service" in result.stdout
    assert "" == asked.read_text("utf-8")
    assert not (tmp_path / "home").exists()


@posix
def test_wrong_settings_are_not_installed(config_file: Path, asked: Path) -> None:
    config_file.write_text('base_url = "https://fhir.example.org"\nauht = "anonymous"\n', "utf-8")
    result = service("install", "--config", str(config_file), "--yes")

    assert 2 == result.exit_code
    assert "auht" in result.stderr
    assert "" == asked.read_text("utf-8")


@posix
def test_failure_of_the_system_is_told_in_its_words(
    config_file: Path, asked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKEN", "Failed to connect to bus")
    result = service("install", "--config", str(config_file), "--yes")

    assert 2 == result.exit_code
    assert "Failed to connect to bus" in result.stderr
    assert "service remove" in result.stderr


@posix
def test_person_is_told_to_sign_in(config_file: Path, asked: Path) -> None:
    config_file.write_text(
        'base_url = "https://fhir.example.org"\nauth = "interactive"\nclient_id = "x"\n', "utf-8"
    )

    assert (
        "fhir-auth-proxy login --config" in service("install", "--config", str(config_file), "--print").stderr
    )


@posix
def test_what_is_not_installed_is_not_removed(asked: Path) -> None:
    result = service("remove", "--yes")

    assert 2 == result.exit_code
    assert "is not installed" in result.stderr


@pytest.mark.parametrize("name", ["../x", "a b", "", "-x", "a" * 65])
def test_name_that_could_mean_something_else_is_refused(name: str, config_file: Path) -> None:
    assert 2 == service("install", "--config", str(config_file), "--name", name, "--yes").exit_code
