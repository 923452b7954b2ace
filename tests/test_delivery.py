"""The files that people deploy with, held against the program itself."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest
import yaml
from click.testing import CliRunner

from proxy.cli import commands
from proxy.cli.config import command as config_command
from proxy.sandbox import Sandbox
from proxy.sandbox.tenant import SECRET, SERVICE

from .admin.running import operated

ROOT = Path(__file__).parents[1]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))["services"]
OURS = {name: service for name, service in COMPOSE.items() if service["image"] == "fhir-auth-proxy"}
HEALTH_CHECK = re.search(
    r"^HEALTHCHECK .*CMD (\[.*\])$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE
)


def parsed(words: list[str]) -> click.Context:
    """A command line as the program reads it."""
    name, *rest = words
    command = commands.get_command(click.Context(commands), name)
    assert command is not None, f"there is no command {name}"
    return command.make_context(name, rest)


COMMAND_LINES = {
    **{name: service["command"] for name, service in OURS.items()},
    "proxy's health check": OURS["proxy"]["healthcheck"]["test"][2:],
}


@pytest.mark.parametrize("words", COMMAND_LINES.values(), ids=COMMAND_LINES)
def test_command_line_of_compose_is_understood(words: list[str]) -> None:
    assert parsed(words).params


def test_health_check_of_compose_calls_the_program() -> None:
    assert ["CMD", "fhir-auth-proxy"] == OURS["proxy"]["healthcheck"]["test"][:2]


def test_settings_of_compose_are_right() -> None:
    result = CliRunner(env=OURS["proxy"]["environment"]).invoke(
        config_command, ["show", *OURS["proxy"]["command"][1:]], catch_exceptions=False
    )

    assert 0 == result.exit_code


async def test_proxy_of_compose_meets_its_sandbox() -> None:
    ports = parsed(OURS["sandbox"]["command"]).params
    environment = OURS["proxy"]["environment"]
    async with Sandbox(patients=1) as sandbox:
        tenant = urlsplit(sandbox.tenant.authority)

    assert f"http://127.0.0.1:{ports['port']}" == OURS["proxy"]["command"][1]
    assert (
        f"https://localhost:{ports['tenant_port']}{tenant.path}" == environment["FHIR_AUTH_PROXY_AUTHORITY"]
    )
    assert (SERVICE.client_id, SECRET) == (environment["AZURE_CLIENT_ID"], environment["AZURE_CLIENT_SECRET"])
    assert (
        str(ports["ca_file"]) == OURS["proxy"]["command"][OURS["proxy"]["command"].index("--ca-bundle") + 1]
    )


def test_containers_of_compose_share_loopback_and_publish_nothing() -> None:
    modes = {name: service.get("network_mode") for name, service in COMPOSE.items()}

    assert {"sandbox": None, "proxy": "service:sandbox", "tool": "service:sandbox"} == modes
    assert not any("ports" in service for service in COMPOSE.values())


async def checked(port: int) -> int | None:
    """The exit status of the image's health check, asked of that port."""
    assert HEALTH_CHECK is not None
    program, *arguments = json.loads(HEALTH_CHECK[1])
    assert "python" == program
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *(argument.replace("8079", str(port)) for argument in arguments),
        stderr=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(60):
        return await process.wait()


async def test_health_check_of_the_image_asks_the_admin_listener() -> None:
    async with operated("http://127.0.0.1:9") as running:
        port = running.port
        assert 0 == await checked(port)

    assert 0 != await checked(port)
