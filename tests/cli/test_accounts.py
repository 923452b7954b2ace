"""`login`, `accounts`, `logout`: the commands around what is kept of a sign-in."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.cli import commands
from proxy.sandbox import Sandbox
from proxy.sandbox.tenant import DESKTOP, MEMBER, OTHER_MEMBER, User

from ..fakes.browser import ScriptedBrowser

SHOWN = re.compile(r"Sign in at (\S+) with the code (\S+)")


class Shell:
    """Commands as a person types them, before one sandbox and with a home of their own."""

    def __init__(self, sandbox: Sandbox, home: Path, ca_file: Path) -> None:
        self.sandbox = sandbox
        self._settings = [
            *(sandbox.fhir.base_url, "--auth", "device-code", "--authority", sandbox.tenant.authority),
            *("--client-id", DESKTOP.client_id, "--ca-bundle", str(ca_file)),
        ]
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("FHIR_AUTH_", "AZURE_"))
        } | {name: str(home) for name in ("HOME", "XDG_STATE_HOME", "LOCALAPPDATA")}

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "proxy", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
        )

    async def run(self, *arguments: str) -> tuple[int | None, str, str]:
        process = await self.start(*arguments)
        async with asyncio.timeout(60):
            stdout, stderr = await process.communicate()
        return process.returncode, stdout.decode(), stderr.decode()

    async def login(self, user: User | None, token_cache: str = "file") -> tuple[int | None, str]:
        """Sign in as a user; None where nobody should have to."""
        account = ["--account", user.username] if user is not None else []
        process = await self.start("login", *self._settings, "--token-cache", token_cache, *account)
        assert process.stderr is not None
        told = ""
        async with asyncio.timeout(60):
            while line := (await process.stderr.readline()).decode():
                told += line
                if user is not None and (shown := SHOWN.search(line)):
                    browser = ScriptedBrowser(self.sandbox.tenant.ca_pem, user.username)
                    browser.user_code = shown[2]
                    await browser.visit(shown[1])
                    await browser.close()
            await process.communicate()
        return process.returncode, told


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    async with Sandbox(patients=1) as sandbox:
        sandbox.tenant.lifetimes.device_interval = 1
        ca_file = tmp_path / "ca.pem"
        ca_file.write_bytes(sandbox.tenant.ca_pem)
        yield Shell(sandbox, tmp_path / "home", ca_file)


async def test_sign_in_is_kept_listed_and_forgotten(shell: Shell) -> None:
    first = await shell.login(MEMBER)
    second = await shell.login(None)
    listed = await shell.run("accounts")
    left = await shell.run("logout")
    after = await shell.run("accounts")

    words = f"signed in as {MEMBER.username} in tenant {shell.sandbox.tenant.tenant_id}"
    assert (first[0], second[0]) == (0, 0)
    assert words in first[1]
    assert words in second[1]
    assert "with the code" not in second[1]
    assert (listed[0], listed[1].count("\n")) == (0, 1)
    assert listed[1].startswith(f"{MEMBER.username} in tenant {shell.sandbox.tenant.tenant_id}, renewed 20")
    assert left[0] == 0
    assert "signed out: ada@clinic.example" in left[1]
    assert (after[0], after[1]) == (0, "")


async def test_one_of_two_accounts_is_signed_out_by_name(shell: Shell) -> None:
    for user in (MEMBER, OTHER_MEMBER):
        assert (await shell.login(user))[0] == 0
    unnamed = await shell.run("logout")
    unknown = await shell.run("logout", "nobody@clinic.example")
    named = await shell.run("logout", MEMBER.username.upper())
    _, listed, _ = await shell.run("accounts")

    assert (unnamed[0], unknown[0], named[0]) == (2, 2, 0)
    assert f"{MEMBER.username}, {OTHER_MEMBER.username}" in unnamed[2]
    assert listed.startswith(OTHER_MEMBER.username)
    assert listed.count("\n") == 1


@pytest.mark.parametrize("name", ["accounts", "logout"])
@pytest.mark.parametrize(("token_cache", "is_told"), [("rediss://cache.example", True), ("file", False)])
def test_sign_ins_that_replicas_share_are_told_to_be_elsewhere(
    name: str, token_cache: str, is_told: bool, tmp_path: Path
) -> None:
    environment = {"XDG_STATE_HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path), "HOME": str(tmp_path)}
    runner = CliRunner(env={**environment, "FHIR_AUTH_PROXY_TOKEN_CACHE": token_cache})
    result = runner.invoke(commands, [name])

    assert result.exit_code == 0
    assert is_told == ("is not on this machine: sign out on the page" in result.stderr)


async def test_sign_in_that_nothing_keeps_is_refused(shell: Shell) -> None:
    status, told = await shell.login(None, token_cache="none")

    assert status == 2
    assert "keeps nothing" in told


async def test_app_has_nobody_to_sign_in(shell: Shell) -> None:
    status, _, told = await shell.run("login", shell.sandbox.fhir.base_url, "--auth", "anonymous")

    assert status == 0
    assert "nobody signs in" in told
