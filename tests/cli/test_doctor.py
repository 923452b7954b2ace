from __future__ import annotations

import asyncio
import io
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from rich.console import Console

from proxy.cli.doctor import exit_status, shown
from proxy.doctor import ROAD, Finding, Report, Status, Verdict
from proxy.sandbox import Sandbox
from proxy.sandbox.tenant import SECRET, SERVICE

ROOT = Path(__file__).parents[2]

TEXT = {"type": "string"}
STEP = {
    "type": "object",
    "properties": {
        "step": {"enum": [stretch.name for stretch in ROAD]},
        "title": TEXT,
        "status": {"enum": ["ok", "warning", "failed", "skipped"]},
        "found": TEXT,
        "cause": TEXT,
        "fix": TEXT,
        "details": {"type": "object", "additionalProperties": TEXT},
    },
    "required": ["step", "title", "status", "found", "cause", "fix", "details"],
    "additionalProperties": False,
    "allOf": [
        {
            "if": {"properties": {"status": {"enum": ["failed", "warning"]}}},
            "then": {"properties": {"cause": {"minLength": 1}, "fix": {"minLength": 1}}},
        },
        {
            "if": {"properties": {"status": {"const": "ok"}}},
            "then": {"properties": {"found": {"minLength": 1}, "cause": {"const": ""}}},
        },
    ],
}
SCHEMA = {
    "type": "object",
    "properties": {
        "format": {"const": 1},
        "exit_status": {"type": "integer"},
        "servers": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {
                    "base_url": TEXT,
                    "exit_status": {"type": "integer"},
                    "steps": {"type": "array", "items": STEP, "minItems": len(ROAD), "maxItems": len(ROAD)},
                },
                "required": ["base_url", "exit_status", "steps"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["format", "exit_status", "servers"],
    "additionalProperties": False,
}
"""What machines may rely on: a change here is a change of FORMAT."""

EXIT_STATUSES = {
    "configuration": 2,
    "name": 10,
    "connection": 11,
    "tls": 12,
    "metadata": 13,
    "challenge": 14,
    "sign-in": 15,
    "token": 16,
    "read": 17,
    "links": 18,
    "clock": 19,
    "listener": 20,
    "storage": 21,
}


async def doctor(*arguments: str, **variables: str) -> tuple[int | None, str, str]:
    """The command as a script starts it: exit status, stdout, stderr."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("FHIR_AUTH_", "AZURE_"))
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "proxy", "doctor", "--listen", "127.0.0.1:0", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment | variables,
        cwd=ROOT,
    )
    async with asyncio.timeout(60):
        stdout, stderr = await process.communicate()
    return process.returncode, stdout.decode(), stderr.decode()


def variables_of(sandbox: Sandbox, folder: Path) -> dict[str, str]:
    ca_file = folder / "ca.pem"
    ca_file.write_bytes(sandbox.tenant.ca_pem)
    return {
        "FHIR_AUTH_PROXY_BASE_URL": sandbox.fhir.base_url,
        "FHIR_AUTH_PROXY_AUTHORITY": sandbox.tenant.authority,
        "FHIR_AUTH_PROXY_CA_BUNDLE": str(ca_file),
        "AZURE_CLIENT_ID": SERVICE.client_id,
        "AZURE_CLIENT_SECRET": SECRET,
    }


def test_exit_statuses_are_those_that_are_documented() -> None:
    readme = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| `([a-z-]+)` \|", readme, re.MULTILINE)
    documented = {step: int(number) for number, step in rows}

    assert EXIT_STATUSES == {stretch.name: stretch.exit_status for stretch in ROAD}
    assert EXIT_STATUSES == documented


async def test_all_is_well_in_plain_text(tmp_path: Path) -> None:
    async with Sandbox(patients=3) as sandbox:
        status, stdout, stderr = await doctor(**variables_of(sandbox, tmp_path))

    assert (status, "\x1b" in stdout, SECRET in stdout + stderr) == (0, False, False)
    assert [line[0] for line in stdout.splitlines()] == ["✓"] * len(ROAD)
    assert "eyJ" not in stdout + stderr


async def test_json_keeps_its_form_when_all_is_well(tmp_path: Path) -> None:
    async with Sandbox(patients=3) as sandbox:
        status, stdout, _ = await doctor("--json", **variables_of(sandbox, tmp_path))

    assert (status, problems(json.loads(stdout))) == (0, [])


async def test_json_keeps_its_form_when_entra_refuses(tmp_path: Path) -> None:
    async with Sandbox(patients=3) as sandbox:
        given = variables_of(sandbox, tmp_path) | {"AZURE_CLIENT_SECRET": "not~the~secret"}
        status, stdout, stderr = await doctor("--json", **given)
    document = json.loads(stdout)

    assert (status, document["exit_status"], problems(document)) == (15, 15, [])
    assert "not~the~secret" not in stdout + stderr
    assert "AADSTS7000215" in stdout


async def test_json_keeps_its_form_when_the_settings_are_wrong() -> None:
    status, stdout, _ = await doctor("nowhere", "--json", "--auth", "magic")
    document = json.loads(stdout)

    assert (status, problems(document)) == (2, [])
    assert "base_url" in document["servers"][0]["steps"][0]["cause"]


async def test_wrong_settings_are_told_line_by_line() -> None:
    status, stdout, _ = await doctor("nowhere", "--auth", "magic")
    lines = stdout.splitlines()

    assert (status, len(lines)) == (2, len(ROAD) + 2)
    assert ["base_url" in lines[0], "auth" in lines[1], "Fix:" in lines[2]] == [True] * 3


async def test_each_server_of_a_file_has_its_report(tmp_path: Path) -> None:
    async with Sandbox(patients=3, is_open=True) as sandbox:
        file = tmp_path / "servers.toml"
        file.write_text(
            f'[[server]]\nbase_url = "{sandbox.fhir.base_url}"\nlisten = "127.0.0.1:0"\n'
            '[[server]]\nbase_url = "https://fhir.invalid"\nlisten = "127.0.0.1:0"\nauth = "anonymous"\n'
        )
        process = await doctor("--config", str(file), "--json")
    document = json.loads(process[1])

    assert (process[0], problems(document)) == (10, [])
    assert [server["exit_status"] for server in document["servers"]] == [0, 10]


def problems(document: object) -> list[str]:
    return [error.message for error in Draft202012Validator(SCHEMA).iter_errors(document)]


def finding(status: Status, **texts: str) -> Finding:
    return Finding("tls", "TLS", 12, Verdict(status, **texts))  # type: ignore[arg-type]


LOOKS: Mapping[str, tuple[Finding, str]] = {
    "ok": (finding(Status.OK, found="well"), "✓ TLS                  well\n"),
    "warning": (
        finding(Status.WARNING, found="seen", cause="Odd.", fix="Look."),
        "! TLS                  seen\n                       Odd.\n                       Fix: Look.\n",
    ),
    "failed": (
        finding(Status.FAILED, cause="Bad.", fix="Mend."),
        "✗ TLS                  Bad.\n                       Fix: Mend.\n",
    ),
    "skipped": (finding(Status.SKIPPED, cause="no need"), "- TLS                  skipped: no need\n"),
}


@pytest.mark.parametrize(("told", "expected"), LOOKS.values(), ids=LOOKS)
def test_finding_is_plain_in_a_pipe_and_coloured_on_a_terminal(told: Finding, expected: str) -> None:
    pipe, terminal = io.StringIO(), io.StringIO()
    Console(file=pipe, soft_wrap=True).print(shown(told))
    Console(file=terminal, width=60, force_terminal=True, color_system="standard").print(
        shown(told, is_wrapped=True)
    )
    colourless = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())

    assert expected == pipe.getvalue()
    assert "\x1b[" in terminal.getvalue()
    assert expected.split() == colourless.split()


def test_long_lines_are_wrapped_within_their_column_on_a_terminal() -> None:
    terminal = io.StringIO()
    told = finding(Status.FAILED, cause="word " * 40, fix="word " * 40)
    Console(file=terminal, width=60, force_terminal=True, color_system=None).print(
        shown(told, is_wrapped=True)
    )
    first, *others = terminal.getvalue().splitlines()

    assert first.startswith("✗ TLS")
    assert {line[:23] for line in others} == {" " * 23}
    assert max(len(line) for line in others) <= 60


def test_control_characters_and_tokens_do_not_reach_the_terminal() -> None:
    file = io.StringIO()
    told = finding(Status.FAILED, cause="a\x1b[31mb Bearer abcdefghijklmnopqrstuvwxyz", fix="[red]c")
    Console(file=file, soft_wrap=True).print(shown(told))

    assert "a\\x1b[31mb ********" in file.getvalue()
    assert "[red]c" in file.getvalue()


@pytest.mark.parametrize("first", range(len(ROAD)), ids=[stretch.name for stretch in ROAD])
def test_first_failure_decides_the_exit_status(first: int) -> None:
    findings = tuple(
        Finding(one.name, one.title, one.exit_status, Verdict(Status.OK if at < first else Status.FAILED))
        for at, one in enumerate(ROAD)
    )
    warned = tuple(Finding(one.name, one.title, one.exit_status, Verdict(Status.WARNING)) for one in ROAD)

    assert exit_status([Report("", warned), Report("", findings)]) == ROAD[first].exit_status
