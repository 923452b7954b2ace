"""Signed in once and staying so: over a stop and a start, beside another process, after a claims challenge."""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import os
import stat
import sys
from pathlib import Path

import msal_extensions
import pytest

from proxy.auth import Gate, Seams, authenticator
from proxy.auth.kept import Kept, all_kept
from proxy.auth.private_file import PrivateFile, state_folder
from proxy.errors import AuthenticationFailed, ConfigError, SignInRequired
from proxy.model import Challenge, Rejection
from proxy.sandbox.tenant import MEMBER, OTHER_MEMBER, Refusal, Tenant

from ..fakes.browser import ScriptedBrowser
from ..fakes.clock import FakeClock
from .conftest import BASE_URL, Settings, token_of, until

HOUR = 3600.0
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="modes and owners are POSIX")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HOME", "XDG_STATE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "state"))
    return state_folder(os.environ)


@pytest.fixture
def settings(person_settings: Settings, folder: Path) -> Settings:
    return lambda **changes: person_settings(**{"auth": "interactive", "token_cache": "file", **changes})


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"))


def grants(tenant: Tenant) -> list[str]:
    return [request.grant_type for request in tenant.token_requests]


async def signed_in(settings: Settings, seams: Seams, **changes: object) -> str:
    """The token of one run of the program."""
    signing = authenticator(settings(**changes), seams)
    try:
        return await token_of(signing)
    finally:
        await signing.close()


async def test_second_start_signs_in_silently(
    tenant: Tenant, settings: Settings, seams: Seams, browser: ScriptedBrowser, lines: list[str]
) -> None:
    tokens = [await signed_in(settings, seams) for _ in range(3)]

    assert {tenant.verify(token, BASE_URL).upn for token in tokens} == {MEMBER.username}
    assert len(browser.opened) == 1
    assert grants(tenant) == ["authorization_code", "refresh_token", "refresh_token"]  # each rotates the last
    assert lines[-1] == f"{BASE_URL}: signed in as {MEMBER.username} in tenant {tenant.tenant_id}"


async def test_revoked_sign_in_is_asked_for_again(
    tenant: Tenant, settings: Settings, seams: Seams, browser: ScriptedBrowser
) -> None:
    await signed_in(settings, seams)
    tenant.revoke(MEMBER.username)
    token = await signed_in(settings, seams)

    assert tenant.verify(token, BASE_URL)
    assert len(browser.opened) == 2


@POSIX
async def test_file_is_its_owners_alone_and_holds_no_access_token(
    settings: Settings, seams: Seams, folder: Path
) -> None:
    token = await signed_in(settings, seams)
    (file,) = files(folder)

    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    assert token not in file.read_text()
    assert sorted(os.listdir(folder)) == [file.name, file.with_suffix(".lock").name]


@POSIX
@pytest.mark.parametrize("damage", ["link", "mode", "folder"])
async def test_file_that_others_could_have_touched_is_refused(
    settings: Settings, seams: Seams, folder: Path, damage: str, browser: ScriptedBrowser
) -> None:
    await signed_in(settings, seams)
    (file,) = files(folder)
    if damage == "link":
        file.rename(folder / "elsewhere")
        file.symlink_to(folder / "elsewhere")
    else:
        (file if damage == "mode" else folder).chmod(0o755)
    with pytest.raises(ConfigError, match="neither read nor written"):
        await signed_in(settings, seams)

    assert len(browser.opened) == 1


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"format": 1}', "\x00", '{"format": 99, "cache": {}}'])
async def test_damaged_file_is_survived(
    settings: Settings,
    seams: Seams,
    folder: Path,
    damage: str,
    lines: list[str],
    browser: ScriptedBrowser,
) -> None:
    await signed_in(settings, seams)
    (file,) = files(folder)
    file.write_text(damage)
    await signed_in(settings, seams)
    await signed_in(settings, seams)

    assert len(browser.opened) == 2
    assert sum("damaged" in line for line in lines) == (1 if damage else 0)


async def test_two_processes_share_a_sign_in_whose_refresh_token_rotates(
    tenant: Tenant, settings: Settings, seams: Seams, browser: ScriptedBrowser, clock: FakeClock
) -> None:
    await signed_in(settings, seams)
    both = [authenticator(settings(), seams) for _ in range(2)]
    for _ in range(3):
        await asyncio.gather(*(token_of(signing) for signing in both))
        clock.advance(2 * HOUR)
    for signing in both:
        await signing.close()

    assert len(browser.opened) == 1
    assert grants(tenant) == ["authorization_code", *["refresh_token"] * 6]


RENEWS = """
import asyncio, json, sys
from proxy.auth import Seams, SystemClock, authenticator
from proxy.auth.seams import unasked
from proxy.config import ServerConfig

class Nobody:
    def open(self, url):
        raise SystemExit(f"a browser was opened at {url}")

async def renew(settings, times):
    for _ in range(times):
        seams = Seams(SystemClock(), Nobody(), lambda line: None, attended=True, probe=unasked)
        signing = authenticator(ServerConfig.of(settings), seams)
        await signing.credentials()
        await signing.close()

asyncio.run(renew(json.loads(sys.argv[1]), int(sys.argv[2])))
"""


async def test_processes_that_renew_at_the_same_time_lose_no_refresh_token(
    tenant: Tenant, settings: Settings, seams: Seams, browser: ScriptedBrowser
) -> None:
    await signed_in(settings, seams)
    config = settings()
    names = ("auth", "client_id", "ca_bundle", "token_cache")
    given = {
        "base_url": BASE_URL,
        "authority": tenant.authority,
        **{name: getattr(config, name) for name in names},
    }
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", RENEWS, json.dumps(given), "4")
        for _ in range(3)
    ]
    statuses = [await process.wait() for process in processes]
    await signed_in(settings, seams)

    # The tenant takes each refresh token once: one that was lost, or used by two, would have ended the sign-in.
    assert statuses == [0, 0, 0]
    assert grants(tenant) == ["authorization_code", *["refresh_token"] * 13]
    assert len(browser.opened) == 1


async def test_lock_file_left_behind_holds_up_nobody(
    settings: Settings, seams: Seams, folder: Path, browser: ScriptedBrowser
) -> None:
    await signed_in(settings, seams)
    (folder / files(folder)[0].with_suffix(".lock").name).write_text("4242")
    await signed_in(settings, seams)

    assert len(browser.opened) == 1


async def test_sign_in_of_another_client_or_authority_is_not_used(
    tenant: Tenant, settings: Settings, seams: Seams, browser: ScriptedBrowser
) -> None:
    await signed_in(settings, seams)
    await signed_in(settings, seams, authority=f"{tenant.origin}/clinic.example")

    assert len(browser.opened) == 2


async def test_several_accounts_never_mix(
    tenant: Tenant, settings: Settings, seams: Seams, browser: ScriptedBrowser
) -> None:
    for user in (MEMBER, OTHER_MEMBER):
        browser._session.cookie_jar.clear()
        browser.username = user.username
        await signed_in(settings, seams, account=user.username)
    with pytest.raises(AuthenticationFailed, match=f"{MEMBER.username}, {OTHER_MEMBER.username}"):
        await signed_in(settings, seams)
    token = await signed_in(settings, seams, account=OTHER_MEMBER.username)

    assert tenant.verify(token, BASE_URL).upn == OTHER_MEMBER.username
    assert len(browser.opened) == 2


async def test_without_encryption_the_sign_in_ends_with_the_process(
    settings: Settings,
    seams: Seams,
    folder: Path,
    lines: list[str],
    browser: ScriptedBrowser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "msal_extensions", None)  # as where the system has nothing to offer
    for _ in range(2):
        await signed_in(settings, seams, token_cache="auto")

    assert len(browser.opened) == 2
    assert files(folder) == []
    assert sum('token_cache = "file"' in line for line in lines) == 2


async def test_encryption_that_is_demanded_and_missing_is_an_error(
    settings: Settings, seams: Seams, browser: ScriptedBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "msal_extensions", None)
    with pytest.raises(ConfigError, match="encrypted"):
        await signed_in(settings, seams, token_cache="encrypted")

    assert browser.opened == []


WANTED = {"access_token": {"nbf": {"essential": True, "value": "1635527790"}}}


def challenge(number: int = 0) -> tuple[Challenge, ...]:
    claims = base64.b64encode(json.dumps({**WANTED, "n": number}).encode()).decode()
    return (Challenge("bearer", {"error": "insufficient_claims", "claims": claims}),)


async def test_wanted_claims_are_asked_for_without_the_person(
    tenant: Tenant, settings: Settings, seams: Seams, browser: ScriptedBrowser, clock: FakeClock
) -> None:
    signing = authenticator(settings(token_cache="none"), seams)
    first = await signing.credentials()
    second = await signing.credentials(Rejection(first, challenge()))
    await signing.close()

    assert second != first
    assert grants(tenant) == ["authorization_code", "refresh_token"]
    assert all(request.has_claims for request in tenant.token_requests)
    assert signing.claims["xms_cc"] == ["CP1"]


async def test_wanted_claims_that_need_the_person_are_asked_of_them(
    tenant: Tenant, settings: Settings, seams: Seams, browser: ScriptedBrowser
) -> None:
    signing = authenticator(settings(token_cache="none"), seams)
    first = await signing.credentials()
    tenant.faults.next(Refusal(50076))
    browser.acts = False
    waiter = asyncio.create_task(signing.credentials(Rejection(first, challenge())))
    await until(lambda: len(browser.opened) >= 2)
    async with browser._session.get(browser.opened[1], allow_redirects=False) as response:
        address = response.headers["Location"]
    await browser.visit(address)

    assert await waiter != first
    assert "1635527790" in address
    await signing.close()


async def test_server_that_asks_for_claims_again_and_again_is_stopped(
    tenant: Tenant, settings: Settings, seams: Seams, clock: FakeClock
) -> None:
    signing = authenticator(settings(token_cache="none"), seams)
    credentials = await signing.credentials()
    for number in range(5):
        credentials = await signing.credentials(Rejection(credentials, challenge(number)))
        clock.advance(40)
    with pytest.raises(AuthenticationFailed, match="again and again"):
        await signing.credentials(Rejection(credentials, challenge(5)))
    sent = len(tenant.token_requests)
    clock.advance(300)
    await signing.close()

    assert sent == 6


async def test_signed_out_elsewhere_is_signed_out_here(
    settings: Settings, seams: Seams, folder: Path, browser: ScriptedBrowser, clock: FakeClock
) -> None:
    signing: Gate = authenticator(settings(), seams)
    await token_of(signing)
    files(folder)[0].unlink()
    browser.acts = False
    clock.advance(2 * HOUR)
    waiter = asyncio.create_task(token_of(signing))
    await until(lambda: len(browser.opened) >= 2)
    clock.advance(20)
    with pytest.raises(SignInRequired):
        await waiter
    await signing.close()


async def test_encrypted_sign_in_outlives_the_process(
    settings: Settings,
    seams: Seams,
    folder: Path,
    browser: ScriptedBrowser,
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What the library does where there is a keyring, less the encryption, which no test machine has.
    monkeypatch.setattr(msal_extensions, "build_encrypted_persistence", msal_extensions.FilePersistence)
    for _ in range(2):
        await signed_in(settings, seams, token_cache="auto")
    (kept,) = all_kept(folder, lines.append)
    (one,) = kept.accounts()
    kept.forget(one.account)
    await signed_in(settings, seams, token_cache="encrypted")

    assert one.account.username == MEMBER.username
    assert len(browser.opened) == 2
    assert not any("lasts until" in line or "damaged" in line for line in lines)


async def test_place_that_cannot_be_written_is_told(
    settings: Settings, seams: Seams, folder: Path, browser: ScriptedBrowser
) -> None:
    folder.parent.parent.mkdir(parents=True, exist_ok=True)
    folder.parent.write_text("a file where a folder should be")
    with pytest.raises(ConfigError, match="cannot be used"):
        await signed_in(settings, seams)

    assert browser.opened == []


class FullFile(PrivateFile):
    """A file on a full disk."""

    def write(self, text: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_sign_out_that_cannot_be_kept_is_told(
    tenant: Tenant, settings: Settings, seams: Seams, folder: Path, browser: ScriptedBrowser
) -> None:
    for user in (MEMBER, OTHER_MEMBER):
        browser._session.cookie_jar.clear()
        browser.username = user.username
        await signed_in(settings, seams, account=user.username)
    (file,) = files(folder)
    content = file.read_bytes()
    kept = Kept(FullFile(file), tenant.authority, settings().client_id)
    with pytest.raises(ConfigError, match=f"cannot be used: {os.strerror(errno.ENOSPC)}"):
        kept.forget(kept.accounts()[0].account)

    assert file.read_bytes() == content
