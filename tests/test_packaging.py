"""What is released and how: pins, workflows, the unit of a service, held against the program and public schemas."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from proxy.config.settings import SETTINGS

from .test_delivery import parsed

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
UNIT = ROOT / "config" / "systemd" / "fhir-auth-proxy.service"

FOR_DEVELOPERS = {"docs", "test", "dev"}
NEEDED = [
    Requirement(text)
    for texts in (
        PROJECT["dependencies"],
        *(texts for extra, texts in PROJECT["optional-dependencies"].items() if extra not in FOR_DEVELOPERS),
    )
    for text in texts
]
PINS = {
    canonicalize_name(name): (version, hashes)
    for name, version, hashes in re.findall(
        r"^([\w.-]+)==([^\s;]+)[^\n]*\n((?:    --hash=sha256:[0-9a-f]{64}[^\n]*\n?)+)",
        (ROOT / "constraints.txt").read_text("utf-8"),
        re.MULTILINE,
    )
}


@pytest.mark.parametrize("needed", NEEDED, ids=lambda needed: needed.name)
def test_dependency_is_pinned_within_its_bound_with_hashes(needed: Requirement) -> None:
    version, hashes = PINS[canonicalize_name(needed.name)]

    assert needed.specifier.contains(version)
    assert hashes


def test_pins_name_no_index() -> None:
    assert "://" not in (ROOT / "constraints.txt").read_text("utf-8")


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        *(("github-workflows", path) for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))),
        ("dependabot", ROOT / ".github" / "dependabot.yml"),
        ("compose-spec", ROOT / "compose.yaml"),
    ],
    ids=lambda value: value.name if isinstance(value, Path) else value,
)
def test_file_holds_to_its_public_schema(schema: str, path: Path) -> None:
    held_to_schema(schema, path.read_text("utf-8"))


def held_to_schema(schema: str, text: str) -> None:
    """Fail unless the YAML holds to the schema of that name, of those that check-jsonschema carries."""
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "check_jsonschema",
            "--default-filetype",
            "yaml",
            "--builtin-schema",
            f"vendor.{schema}",
            "-",
        ],
        input=text,
        check=False,
        capture_output=True,
        text=True,
    )

    assert 0 == result.returncode, result.stdout


def unit() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign,assignment]  # systemd's keys have capitals
    parser.read_string(UNIT.read_text("utf-8"))
    return parser["Service"]


def test_unit_starts_the_program() -> None:
    program, *words = shlex.split(unit()["ExecStart"])

    assert program.endswith("/bin/fhir-auth-proxy")
    assert parsed(words).params["config_file"] is not None


def test_unit_waits_longer_than_the_drain() -> None:
    assert float(unit()["TimeoutStopSec"]) > SETTINGS["drain_timeout"].default


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_unit_is_understood_by_systemd(tmp_path: Path) -> None:
    # The program of the unit is not installed here; that one line is replaced by one that exists everywhere.
    copy = tmp_path / UNIT.name
    copy.write_text(
        re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text("utf-8"), flags=re.MULTILINE)
    )
    result = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], check=False, capture_output=True, text=True
    )

    assert (0, "") == (result.returncode, result.stderr)
