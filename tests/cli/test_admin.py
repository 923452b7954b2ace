from __future__ import annotations

import asyncio
import json
import socket

import pytest
from click.testing import CliRunner, Result

from proxy.cli import commands
from proxy.cli.admin import SETTING
from proxy.sandbox import Sandbox
from proxy.sandbox.tenant import SERVICE

from ..admin.running import Operated, operated, operated_before


async def call(running: Operated, *arguments: str) -> Result:
    command, *options = arguments
    return await asyncio.to_thread(
        CliRunner().invoke, commands, [command, "--admin", f"localhost:{running.port}", *options]
    )


async def test_status_for_people() -> None:
    async with Sandbox(patients=1) as sandbox, operated_before(sandbox) as running:
        result = await call(running, "status")

    first, *rest = result.output.splitlines()
    assert (0, f"✓ ready  {running.proxy.url} → {sandbox.fhir.base_url}") == (result.exit_code, first)
    assert rest[0].startswith(f"  signed in by client-secret as {SERVICE.client_id} in the tenant ")
    assert rest[1].startswith("  token valid until 20")


async def test_status_of_what_does_not_work() -> None:
    async with Sandbox(patients=1) as sandbox, operated_before(sandbox, client_secret="wrong") as running:
        result = await call(running, "status")

    first, *rest = result.output.splitlines()
    assert (1, f"✗ not ready  {running.proxy.url} → {sandbox.fhir.base_url}") == (result.exit_code, first)
    assert "AADSTS7000215" in rest[0]
    assert "  method client-secret, nobody is signed in" == rest[1]
    assert rest[2].startswith("  last problem, at 20")


async def test_status_for_programs() -> None:
    async with Sandbox(patients=1) as sandbox, operated_before(sandbox) as running:
        result = await call(running, "status", "--json")

    status = json.loads(result.output)
    assert (0, True) == (result.exit_code, status["ready"])
    assert [running.proxy.url] == [server["local_url"] for server in status["servers"]]


async def test_wait_ends_when_the_proxy_is_ready() -> None:
    async with Sandbox(patients=1) as sandbox, operated_before(sandbox) as running:
        result = await call(running, "wait")

    assert (0, "") == (result.exit_code, result.output)


async def test_wait_begins_before_the_proxy_does() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with Sandbox(patients=1, is_open=True) as sandbox:
        waiting = asyncio.create_task(
            asyncio.to_thread(CliRunner().invoke, commands, ["wait", "--admin", f"127.0.0.1:{port}"])
        )
        async with operated(sandbox.fhir.base_url, admin_port=port):
            result = await waiting

    assert 0 == result.exit_code


async def test_wait_that_is_over_tells_why() -> None:
    async with Sandbox(patients=1) as sandbox, operated_before(sandbox, client_secret="wrong") as running:
        result = await call(running, "wait", "--timeout", "0")

    assert 1 == result.exit_code
    assert "Not ready within 0 seconds. " in result.stderr
    assert "AADSTS7000215" in result.stderr


async def test_stop_stops() -> None:
    async with operated("http://127.0.0.1:9") as running:
        result = await call(running, "stop")
        await asyncio.wait_for(running.stopped.wait(), 10)

    assert (0, f"localhost:{running.port} is stopping\n") == (result.exit_code, result.output)


async def test_proxy_whose_settings_are_fixed_says_so() -> None:
    async with operated("http://127.0.0.1:9") as running:
        result = await call(running, "reload")

    assert 1 == result.exit_code
    assert "answers 403: The settings of this proxy cannot change." in result.stderr


NOBODY = [("status",), ("status", "--json"), ("stop",), ("reload",), ("wait", "--timeout", "0")]


@pytest.mark.parametrize("arguments", NOBODY, ids=" ".join)
def test_nobody_there_is_told(arguments: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    result = CliRunner().invoke(commands, [*arguments, "--admin", f"127.0.0.1:{port}"])

    assert (1, "") == (result.exit_code, result.stdout)
    assert f"No proxy answers at 127.0.0.1:{port}." in result.stderr


WRONG = [
    ("https://x/y", "is a URL or a path"),
    ("x:y", "has a port that is not a number"),
    ("off", "switches it off"),
]


@pytest.mark.parametrize(("address", "words"), WRONG)
def test_wrong_address_is_told(address: str, words: str) -> None:
    result = CliRunner(env={SETTING.variable: address}).invoke(commands, ["status"])

    assert 2 == result.exit_code
    assert words in " ".join(result.stderr.split())
