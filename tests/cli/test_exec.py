from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.cli.child import LOCAL_NAMES, child_environment
from proxy.cli.exec import command
from proxy.errors import ConfigError
from proxy.sandbox import Sandbox
from proxy.sandbox.tenant import SECRET, SERVICE

REPORT = Path(__file__).with_name("report.py")
URL = "http://localhost:50000/r4"
ANONYMOUS = ("http://127.0.0.1:9/fhir", "--auth", "anonymous")


@asynccontextmanager
async def wrapper(*arguments: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`exec` as a person starts it, away from any terminal."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FHIR_", "AZURE_"))}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "proxy", "exec", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**kept, **environment},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(60):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ended(*arguments: str, text: bytes = b"", **environment: str) -> tuple[int | None, str, str]:
    async with wrapper(*arguments, **environment) as process:
        stdout, stderr = await process.communicate(text)
    return process.returncode, stdout.decode(), stderr.decode()


async def test_tool_that_knows_nothing_of_us_reads_every_page(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    async with Sandbox(patients=11) as sandbox:
        ca_file.write_bytes(sandbox.tenant.ca_pem)
        done = await ended(
            *(sandbox.fhir.base_url, "--auth", "client-secret", "--authority", sandbox.tenant.authority),
            *("--client-id", SERVICE.client_id, "--ca-bundle", str(ca_file)),
            *("--", sys.executable, str(REPORT)),
            AZURE_CLIENT_SECRET=SECRET,
        )

    assert (0, "11 11\n", "") == done


async def test_sign_in_that_fails_starts_no_command(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    async with Sandbox(patients=1) as sandbox:
        ca_file.write_bytes(sandbox.tenant.ca_pem)
        status, stdout, stderr = await ended(
            *(sandbox.fhir.base_url, "--auth", "client-secret", "--authority", sandbox.tenant.authority),
            *("--client-id", SERVICE.client_id, "--ca-bundle", str(ca_file)),
            *("--", sys.executable, "-c", "print('started')"),
            AZURE_CLIENT_SECRET="not the secret",
        )

    assert (1, "") == (status, stdout)
    assert "AADSTS7000215" in stderr


STATUSES = [("import sys; sys.exit(0)", 0), ("import sys; sys.exit(3)", 3), ("raise SystemExit(255)", 255)]


@pytest.mark.parametrize(("script", "status"), STATUSES, ids=[str(status) for _, status in STATUSES])
async def test_exit_status_is_the_commands(script: str, status: int) -> None:
    assert (status, "", "") == await ended(*ANONYMOUS, "--", sys.executable, "-c", script)


async def test_streams_and_arguments_are_the_commands_own() -> None:
    script = (
        "import os, sys; print(sys.stdin.read()); print('warned', file=sys.stderr);"
        "print(sys.argv[1:] == [f'-u={os.environ[\"FHIR_SERVER_URL\"]}/metadata', '--', '--help', '{x}'])"
    )
    arguments = ("-u={url}/metadata", "--", "--help", "{x}")
    done = await ended(*ANONYMOUS, "--", sys.executable, "-c", script, *arguments, text=b"typed")

    assert (0, "typed\nTrue\n", "warned\n") == done


WAITING = (
    "import signal, sys, threading\n"
    "def end(number, frame): print(signal.Signals(number).name, flush=True); sys.exit(7)\n"
    "[signal.signal(name, end) for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]\n"
    "print('ready', flush=True); threading.Event().wait()"
)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
async def test_signal_reaches_the_command_which_decides(name: str) -> None:
    async with wrapper(*ANONYMOUS, "--", sys.executable, "-c", WAITING) as process:
        assert process.stdout is not None
        await process.stdout.readuntil(b"ready\n")
        process.send_signal(signal.Signals[name])
        stdout, _ = await process.communicate()

    assert (7, f"{name}\n") == (process.returncode, stdout.decode())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
async def test_command_that_a_signal_ends_is_told_as_shells_do() -> None:
    script = "print('ready', flush=True); import threading; threading.Event().wait()"
    async with wrapper(*ANONYMOUS, "--", sys.executable, "-c", script) as process:
        assert process.stdout is not None
        await process.stdout.readuntil(b"ready\n")
        process.send_signal(signal.SIGTERM)
        await process.communicate()

    assert 128 + signal.SIGTERM == process.returncode


async def test_command_that_is_not_there_is_named() -> None:
    status, stdout, stderr = await ended(*ANONYMOUS, "--", "no-such-command-here")

    assert (127, "") == (status, stdout)
    assert stderr == "error: no-such-command-here: there is no such command\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows goes by the file's name")
async def test_file_that_is_no_program_is_named(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_bytes(b"\x00\x01")
    file.chmod(0o700)
    status, _, stderr = await ended(*ANONYMOUS, "--", str(file))

    assert (126, True) == (status, stderr.startswith(f"error: {file}: cannot be started: "))


@pytest.mark.parametrize("arguments", [ANONYMOUS, (*ANONYMOUS, "--")], ids=["without --", "nothing after --"])
def test_command_has_to_be_named(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(command, arguments)

    assert 2 == result.exit_code
    assert "Name the command after --" in result.stderr


def test_one_server_is_wrapped(tmp_path: Path) -> None:
    file = tmp_path / "servers.toml"
    file.write_text(
        'auth = "anonymous"\n[[server]]\nbase_url = "https://a"\n[[server]]\nbase_url = "https://b"\n'
    )
    result = CliRunner().invoke(command, ["--config", str(file), "--", sys.executable])

    assert isinstance(result.exception, ConfigError)
    assert "has 2" in result.exception.message


ENVIRONMENTS = [
    # What tools look for
    ({}, {"FHIR_BASE_URL": URL, "FHIR_SERVER_URL": URL}),
    ({"FHIR_BASE_URL": "https://elsewhere"}, {"FHIR_BASE_URL": URL, "FHIR_SERVER_URL": URL}),
    # Secrets of this program alone
    (
        {"FHIR_AUTH_PROXY_CLIENT_SECRET": "s", "FHIR_AUTH_PROXY_TOKEN": "t", "AZURE_CLIENT_SECRET": "a"},
        {"AZURE_CLIENT_SECRET": "a", "FHIR_BASE_URL": URL, "FHIR_SERVER_URL": URL},
    ),
    # A company's HTTP proxy
    (
        {"HTTPS_PROXY": "http://proxy:3128"},
        {
            "HTTPS_PROXY": "http://proxy:3128",
            "NO_PROXY": LOCAL_NAMES,
            "no_proxy": LOCAL_NAMES,
            "FHIR_BASE_URL": URL,
            "FHIR_SERVER_URL": URL,
        },
    ),
    (
        {"http_proxy": "http://proxy:3128", "NO_PROXY": ".corp"},
        {
            "http_proxy": "http://proxy:3128",
            "NO_PROXY": f".corp,{LOCAL_NAMES}",
            "no_proxy": f".corp,{LOCAL_NAMES}",
            "FHIR_BASE_URL": URL,
            "FHIR_SERVER_URL": URL,
        },
    ),
]


@pytest.mark.parametrize(("environment", "expected"), ENVIRONMENTS)
def test_environment_of_the_command(environment: dict[str, str], expected: dict[str, str]) -> None:
    assert expected == child_environment(environment, URL)
