from __future__ import annotations

import asyncio
import stat
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.cli import commands
from proxy.sandbox import Sandbox


def init(*arguments: str, answers: str = "") -> Result:
    return CliRunner().invoke(commands, ["init", *arguments], input=answers)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "my.toml"


def test_three_questions_make_a_file(file: Path) -> None:
    result = init(
        "--output", str(file), "--no-doctor", answers="https://fhir.example.org/r4\ndevice-code\n8085\n"
    )

    assert 0 == result.exit_code
    assert {"base_url": "https://fhir.example.org/r4", "auth": "device-code", "listen": "localhost:8085"} == (
        tomllib.loads(file.read_text("utf-8"))
    )


def test_two_questions_have_an_answer_already(file: Path) -> None:
    init("--output", str(file), "--no-doctor", answers="https://fhir.example.org/r4\n\n\n")

    assert {"base_url": "https://fhir.example.org/r4", "auth": "auto", "listen": "localhost:8080"} == (
        tomllib.loads(file.read_text("utf-8"))
    )


def test_wrong_url_is_asked_again(file: Path) -> None:
    result = init(
        "--output", str(file), "--no-doctor", answers="fhir.example.org\nhttps://fhir.example.org\n\n\n"
    )

    assert 0 == result.exit_code
    assert "fhir.example.org" in result.stderr


def test_what_is_given_is_not_asked(file: Path) -> None:
    result = init("https://fhir.example.org", "--auth", "interactive", "--port", "0", "--client-id", "an-id", "--output", str(file), "--no-doctor")  # fmt: skip

    assert 0 == result.exit_code
    assert "an-id" == tomllib.loads(file.read_text("utf-8"))["client_id"]


def test_wrong_setting_writes_nothing(file: Path) -> None:
    result = init("ftp://fhir.example.org", "--auth", "auto", "--port", "0", "--output", str(file))

    assert 2 == result.exit_code
    assert "ftp://fhir.example.org" in result.stderr
    assert not file.exists()


def test_file_that_is_there_is_kept(file: Path) -> None:
    file.write_text("precious", "utf-8")
    result = init("https://fhir.example.org", "--auth", "auto", "--port", "0", "--output", str(file))

    assert 2 == result.exit_code
    assert "--force" in result.stderr
    assert "precious" == file.read_text("utf-8")


def test_file_is_replaced_where_that_is_meant(file: Path) -> None:
    file.write_text("old", "utf-8")
    init(
        "https://fhir.example.org",
        "--auth",
        "auto",
        "--port",
        "0",
        "--output",
        str(file),
        "--force",
        "--no-doctor",
    )

    assert "base_url" in file.read_text("utf-8")


def test_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "none" / "my.toml"
    result = init("https://fhir.example.org", "--auth", "auto", "--port", "0", "--output", str(path))

    assert 2 == result.exit_code
    assert str(path) in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")
def test_others_may_not_read_the_file(file: Path) -> None:
    init("https://fhir.example.org", "--auth", "auto", "--port", "0", "--output", str(file), "--no-doctor")

    assert 0o600 == stat.S_IMODE(file.stat().st_mode)


def test_interrupted_questions_leave_nothing(file: Path) -> None:
    result = init("--output", str(file), answers="https://fhir.example.org\n")

    assert 0 != result.exit_code
    assert not file.exists()


async def test_doctor_walks_the_road_at_once(file: Path) -> None:
    async with Sandbox(patients=3, is_open=True) as sandbox:
        result = await asyncio.to_thread(
            init, sandbox.fhir.base_url, "--auth", "anonymous", "--port", "0", "--output", str(file)
        )

    assert 0 == result.exit_code, result.output
    assert "✓ Authenticated read" in result.stdout
