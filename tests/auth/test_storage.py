from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Self

import pytest

from proxy.auth import Authenticator, Seams, StorageAuthenticator, authenticator
from proxy.config import ServerConfig
from proxy.errors import AuthenticationFailed, SignInRequired
from proxy.model import Fields, Rejection, ResponseHead
from proxy.rules.audiences import STORAGE_AUDIENCE
from proxy.sandbox.tenant import (
    DESKTOP,
    MEMBER,
    OTHER_MEMBER,
    SERVICE,
    MachineIdentity,
    Refusal,
    Resource,
    Tenant,
)

from ..fakes.browser import ScriptedBrowser
from ..fakes.clock import FakeClock
from .conftest import BASE_URL, Probes, Settings, token_of

HOUR = 3600.0


@pytest.fixture(autouse=True)
def _storage(tenant: Tenant) -> None:
    tenant.register(Resource(STORAGE_AUDIENCE, preauthorized=frozenset({DESKTOP.client_id})))


class Both:
    """The Authenticators of a server and of its storage accounts."""

    def __init__(self, config: ServerConfig, seams: Seams) -> None:
        self.server: Authenticator = authenticator(config, seams)
        self.storage = StorageAuthenticator(config, self.server)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.storage.close()
        await self.server.close()


def scopes(tenant: Tenant) -> list[str]:
    return [request.scope for request in tenant.token_requests]


async def test_app_has_a_token_for_each(tenant: Tenant, app_settings: Settings, seams: Seams) -> None:
    async with Both(app_settings(), seams) as both:
        storage = tenant.verify(await token_of(both.storage), STORAGE_AUDIENCE)
        server = tenant.verify(await token_of(both.server), BASE_URL)
        again = await asyncio.gather(*(both.storage.credentials() for _ in range(20)))

        assert (storage.appid, storage.scp, server.appid) == (SERVICE.client_id, (), SERVICE.client_id)
        assert {f"{BASE_URL}/.default", f"{STORAGE_AUDIENCE}/.default"} == set(scopes(tenant))
        assert len(scopes(tenant)) == 2
        assert {True} == {one is not None and one.for_storage for one in again}
        server_credentials = await both.server.credentials()
        assert server_credentials is not None
        assert not server_credentials.for_storage


async def test_refused_token_is_replaced_and_the_servers_is_kept(
    tenant: Tenant, app_settings: Settings, seams: Seams, clock: FakeClock
) -> None:
    async with Both(app_settings(), seams) as both:
        server = await both.server.credentials()
        first = await both.storage.credentials()
        clock.advance(1)
        second = await both.storage.credentials(Rejection(first))

        assert second not in {None, first}
        assert server == await both.server.credentials()


async def test_person_is_asked_once(
    tenant: Tenant, person_settings: Settings, seams: Seams, lines: list[str]
) -> None:
    async with Both(person_settings(auth="interactive"), seams) as both:
        # The file is asked for first: then the sign-in is the server's all the same.
        storage = tenant.verify(await token_of(both.storage), STORAGE_AUDIENCE)
        server = tenant.verify(await token_of(both.server), BASE_URL)

    assert (storage.upn, storage.scp) == (MEMBER.username, ("user_impersonation",))
    assert server.upn == MEMBER.username
    assert ["authorization_code", "refresh_token"] == [one.grant_type for one in tenant.token_requests]
    assert sum("Sign in" in line for line in lines) == 1


async def test_both_are_renewed_at_the_same_time(
    tenant: Tenant, person_settings: Settings, seams: Seams, clock: FakeClock
) -> None:
    async with Both(person_settings(auth="interactive"), seams) as both:
        await token_of(both.storage)
        for _ in range(3):
            clock.advance(2 * HOUR)
            storage, server = await asyncio.gather(both.storage.credentials(), both.server.credentials())
            assert None not in {storage, server}

    assert ["authorization_code", *["refresh_token"] * 7] == [one.grant_type for one in tenant.token_requests]


async def test_somebody_else_who_signs_in_reads_as_themselves(
    tenant: Tenant, person_settings: Settings, seams: Seams, clock: FakeClock, browser: ScriptedBrowser
) -> None:
    async with Both(person_settings(auth="interactive"), seams) as both:
        await token_of(both.server)
        clock.advance(0.45 * HOUR)  # before any renewal ahead
        before = tenant.verify(await token_of(both.storage), STORAGE_AUDIENCE)
        tenant.revoke(MEMBER.username)
        browser.username = OTHER_MEMBER.username
        clock.advance(0.6 * HOUR)
        await token_of(both.server)
        after = tenant.verify(await token_of(both.storage), STORAGE_AUDIENCE)

    assert (before.upn, after.upn) == (MEMBER.username, OTHER_MEMBER.username)


async def test_missing_consent_names_the_permission(
    tenant: Tenant, person_settings: Settings, seams: Seams, clock: FakeClock
) -> None:
    tenant.register(Resource(STORAGE_AUDIENCE, admin_consent_required=True))
    async with Both(person_settings(auth="interactive"), seams) as both:
        server = await token_of(both.server)
        with pytest.raises(SignInRequired, match="may use Azure Storage") as raised:
            await both.storage.credentials()
        assert server == await token_of(both.server)
        tenant.register(Resource(STORAGE_AUDIENCE, preauthorized=frozenset({DESKTOP.client_id})))
        clock.advance(60)
        await token_of(both.storage)

    assert "AADSTS65001" in raised.value.message
    assert "az ad app permission add --id" in raised.value.hint
    assert "Azure Storage > user_impersonation" in raised.value.hint


async def test_an_account_that_is_refused_gets_no_storage_either(
    tenant: Tenant, app_settings: Settings, seams: Seams
) -> None:
    other = "0c11a1c0-5a3d-4b0c-8000-00000000ffff"
    async with Both(app_settings(expect_tenant=other), seams) as both:
        with pytest.raises(AuthenticationFailed):
            await both.storage.credentials()

    assert f"{STORAGE_AUDIENCE}/.default" not in scopes(tenant)


async def test_outage_is_told(tenant: Tenant, app_settings: Settings, seams: Seams) -> None:
    async with Both(app_settings(), seams) as both:
        await token_of(both.server)
        tenant.faults.next(Refusal(500011))
        with pytest.raises(AuthenticationFailed, match=STORAGE_AUDIENCE):
            await both.storage.credentials()


async def test_auto_follows_its_choice(
    tenant: Tenant, app_settings: Settings, seams: Seams, probe: Probes
) -> None:
    challenge = f'Bearer authorization_uri="{tenant.authority}", resource_id="{BASE_URL}"'
    probe.head = ResponseHead(401, b"", Fields.of([("WWW-Authenticate", challenge)]))
    async with Both(app_settings(auth="auto"), seams) as both:
        tenant.verify(await token_of(both.storage), STORAGE_AUDIENCE)

    assert probe.count == 1


async def test_machine_has_a_token_for_each(
    tenant: Tenant, app_settings: Settings, seams: Seams, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = app_settings(auth="managed-identity", client_secret=None, client_id="", authority=None)
    async with tenant.identity_endpoint(MachineIdentity(SERVICE)) as endpoint:
        monkeypatch.setenv("IDENTITY_ENDPOINT", endpoint.app_service_url)
        monkeypatch.setenv("IDENTITY_HEADER", endpoint.header)
        async with Both(config, seams) as both:
            tenant.verify(await token_of(both.storage), STORAGE_AUDIENCE)
            tenant.verify(await token_of(both.server), BASE_URL)


@pytest.mark.skipif(os.name != "posix", reason="the fake tool is a script with a #! line")
async def test_tool_is_asked_for_both(
    app_settings: Settings,
    seams: Seams,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = tmp_path / "az"
    asked = tmp_path / "asked"
    printed = json.dumps(
        {"accessToken": "opaque", "expiresOn": "2100-01-01 00:00:00", "expires_on": 4102444800}
    )
    program.write_text(
        f"#!{sys.executable}\nimport sys\nopen({str(asked)!r}, 'a').write(' '.join(sys.argv) + '\\n')\n"
        f"print({printed!r})\n"
    )
    program.chmod(0o700)
    (tmp_path / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(tmp_path))
    async with Both(app_settings(auth="azure-cli", client_secret=None, client_id=""), seams) as both:
        await token_of(both.storage)
    resources = [line.partition("--resource ")[2].split()[0] for line in asked.read_text().splitlines()]

    assert resources == [BASE_URL, STORAGE_AUDIENCE]


ONE_AUDIENCE = (
    {"auth": "token", "token": "opaque"},
    {"auth": "command", "command": (sys.executable, "-c", "print('opaque')")},
    {"auth": "anonymous"},
)


@pytest.mark.parametrize("settings", ONE_AUDIENCE, ids=lambda settings: settings["auth"])
async def test_tokens_from_elsewhere_are_for_one_audience(
    app_settings: Settings, seams: Seams, settings: dict[str, object]
) -> None:
    async with Both(app_settings(client_id="", client_secret=None, **settings), seams) as both:
        with pytest.raises(AuthenticationFailed, match="no token for the storage accounts") as raised:
            await both.storage.credentials()

    assert "export_storage needs a way to sign in" in raised.value.hint


async def test_authenticators_of_a_caller_may_have_but_one(app_settings: Settings) -> None:
    class Fixed:
        async def credentials(self, rejected: Rejection | None = None) -> None:
            return None

        async def close(self) -> None:
            raise AssertionError("it belongs to the caller")

    storage = StorageAuthenticator(app_settings(), Fixed())
    with pytest.raises(AuthenticationFailed, match="without signing in"):
        await storage.credentials()
    await storage.close()
