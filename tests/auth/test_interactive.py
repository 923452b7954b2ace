from __future__ import annotations

import asyncio
import logging
import os
import socket
from pathlib import Path

import pytest

from proxy.auth import Seams, authenticator
from proxy.errors import AuthenticationFailed, ConfigError, IdentityProviderUnavailable, SignInRequired
from proxy.model import Fields, Rejection, ResponseHead
from proxy.sandbox.tenant import (
    DESKTOP,
    MEMBER,
    OTHER_MEMBER,
    Client,
    Endpoint,
    Hang,
    HttpError,
    Refusal,
    Tenant,
)

from ..fakes.browser import ScriptedBrowser
from ..fakes.clock import FakeClock
from .conftest import BASE_URL, Probes, Settings, renewed_ahead, token_of, until

HOUR = 3600.0


@pytest.fixture
def settings(person_settings: Settings) -> Settings:
    return lambda **changes: person_settings(**{"auth": "interactive", **changes})


def grants(tenant: Tenant) -> list[str]:
    return [request.grant_type for request in tenant.token_requests]


async def visited(browser: ScriptedBrowser) -> str:
    """The text of the page on which a visit has ended."""
    return (await browser.pages.get()).text


async def test_person_signs_in_with_the_browser(
    tenant: Tenant, settings: Settings, seams: Seams, browser: ScriptedBrowser, lines: list[str]
) -> None:
    signing = authenticator(settings(), seams)
    claims = tenant.verify(await token_of(signing), BASE_URL)
    page = await visited(browser)
    await signing.close()

    assert (claims.upn, claims.scp) == (MEMBER.username, ("user_impersonation",))
    assert f"{MEMBER.username} is signed in" in page
    assert lines == [
        f"{BASE_URL}: Sign in with the browser at {browser.opened[0]}",
        f"{BASE_URL}: signed in as {MEMBER.username} in tenant {tenant.tenant_id}",
    ]


async def test_exactly_one_scope_of_the_server_is_asked_for(
    tenant: Tenant, settings: Settings, seams: Seams
) -> None:
    signing = authenticator(settings(), seams)
    await token_of(signing)
    await signing.close()
    asked = {
        scope
        for request in tenant.requests
        if request.scope
        for scope in request.scope.split()
        if scope not in {"openid", "profile", "offline_access"}
    }

    assert asked == {f"{BASE_URL}/user_impersonation"}


async def test_answer_in_the_query_is_taken_as_well(
    settings: Settings, seams: Seams, browser: ScriptedBrowser
) -> None:
    browser.starts = False
    signing = authenticator(settings(), seams)
    waiter = asyncio.create_task(token_of(signing))
    await until(lambda: browser.opened)
    async with browser._session.get(browser.opened[0], allow_redirects=False) as response:
        address = response.headers["Location"]
    await browser.visit(address.replace("response_mode=form_post", "response_mode=query"))

    assert await waiter
    await signing.close()


async def test_500_concurrent_requests_cause_one_sign_in(
    tenant: Tenant, settings: Settings, seams: Seams, browser: ScriptedBrowser
) -> None:
    signing = authenticator(settings(), seams)
    tokens = await asyncio.gather(*(token_of(signing) for _ in range(500)))
    await signing.close()

    assert len(set(tokens)) == 1
    assert len(browser.opened) == 1
    assert grants(tenant) == ["authorization_code"]


async def test_token_is_renewed_without_the_person(
    tenant: Tenant, settings: Settings, seams: Seams, browser: ScriptedBrowser, clock: FakeClock
) -> None:
    signing = authenticator(settings(), seams)
    tokens = [await token_of(signing)]
    for _ in range(3):  # each time with the refresh token that the last renewal brought: they rotate
        clock.advance(2 * HOUR)
        tokens.append(await token_of(signing))
    await signing.close()

    assert len(set(tokens)) == 4
    assert len(browser.opened) == 1
    assert grants(tenant) == ["authorization_code", *["refresh_token"] * 3]


async def test_500_concurrent_requests_cause_one_renewal(
    tenant: Tenant, settings: Settings, seams: Seams, clock: FakeClock
) -> None:
    signing = authenticator(settings(), seams)
    await token_of(signing)
    clock.advance(2 * HOUR)
    tokens = await asyncio.gather(*(token_of(signing) for _ in range(500)))
    await signing.close()

    assert len(set(tokens)) == 1
    assert grants(tenant) == ["authorization_code", "refresh_token"]


async def test_rejected_token_is_replaced_without_the_person(
    tenant: Tenant, settings: Settings, seams: Seams, browser: ScriptedBrowser, clock: FakeClock
) -> None:
    signing = authenticator(settings(), seams)
    first = await signing.credentials()
    clock.advance(1)
    second = await signing.credentials(Rejection(first))
    await signing.close()

    assert second != first
    assert grants(tenant) == ["authorization_code", "refresh_token"]


async def test_revoked_sign_in_is_asked_for_again_when_the_token_is_needed(
    tenant: Tenant,
    settings: Settings,
    seams: Seams,
    browser: ScriptedBrowser,
    clock: FakeClock,
    lines: list[str],
) -> None:
    signing = authenticator(settings(), seams)
    first = await token_of(signing)
    tenant.revoke(MEMBER.username)
    clock.advance(HOUR - 200)
    await renewed_ahead(signing)
    meanwhile, opened = await token_of(signing), len(browser.opened)
    clock.advance(200)
    second = await token_of(signing)
    await signing.close()

    assert (meanwhile, opened) == (first, 1)
    assert second != first
    assert len(browser.opened) == 2
    assert any("sign in again" in line and "50173" in line for line in lines)


async def test_valid_token_is_used_while_entra_is_broken(
    tenant: Tenant, settings: Settings, seams: Seams, clock: FakeClock
) -> None:
    signing = authenticator(settings(), seams)
    first = await token_of(signing)
    tenant.faults.always(HttpError(500))
    clock.advance(HOUR - 200)
    await renewed_ahead(signing)
    kept = await token_of(signing)
    clock.advance(200)
    with pytest.raises(IdentityProviderUnavailable):
        await token_of(signing)
    tenant.faults.clear()
    clock.advance(30)
    after = await token_of(signing)
    await signing.close()

    assert kept == first
    assert after != first


async def test_person_who_is_away_holds_a_request_only_for_a_while(
    settings: Settings, seams: Seams, browser: ScriptedBrowser, clock: FakeClock
) -> None:
    browser.acts = False
    signing = authenticator(settings(), seams)
    waiter = asyncio.create_task(token_of(signing))
    await until(lambda: browser.opened)
    clock.advance(20)
    with pytest.raises(SignInRequired) as raised:
        await waiter
    browser.acts = True
    await browser.visit(browser.opened[0])

    assert await token_of(signing)
    assert browser.opened[0] in raised.value.hint
    assert raised.value.retry_after == 20
    await signing.close()


async def test_browser_is_not_opened_again_and_again_for_nobody(
    settings: Settings, seams: Seams, browser: ScriptedBrowser, clock: FakeClock, lines: list[str]
) -> None:
    browser.acts = False
    signing = authenticator(settings(sign_in_timeout=10), seams)
    for attempt in range(3):
        waiter = asyncio.create_task(token_of(signing))
        await until(lambda count=attempt: len(lines) > count and browser.opened)
        clock.advance(10)
        with pytest.raises(SignInRequired, match="within 10 seconds"):
            await waiter
        clock.advance(5)
    await signing.close()

    assert len(browser.opened) == 1
    assert len(lines) == 3


async def test_machine_without_a_browser_shows_the_address(
    settings: Settings, seams: Seams, browser: ScriptedBrowser, lines: list[str]
) -> None:
    browser.starts = False
    signing = authenticator(settings(), seams)
    waiter = asyncio.create_task(token_of(signing))
    await until(lambda: len(lines) >= 2)
    await browser.visit(browser.opened[0])

    assert await waiter
    assert lines[1] == f"{BASE_URL}: No browser could be opened here. Sign in with one at {browser.opened[0]}"
    await signing.close()


async def test_browser_that_blocks_blocks_nothing_else(
    settings: Settings, seams: Seams, browser: ScriptedBrowser
) -> None:
    browser.blocks = True
    signing = authenticator(settings(), seams)

    assert await token_of(signing)
    browser.closed.set()
    await signing.close()


async def test_person_who_cancels_reads_why_nothing_works(
    settings: Settings, seams: Seams, browser: ScriptedBrowser
) -> None:
    browser.choice = "cancel"
    signing = authenticator(settings(), seams)
    with pytest.raises(SignInRequired) as raised:
        await token_of(signing)
    page = await visited(browser)
    await signing.close()

    assert "65004" in raised.value.message
    assert "Sign-in failed" in page
    assert "65004" in page


async def test_refused_consent_is_explained(
    tenant: Tenant, settings: Settings, seams: Seams, browser: ScriptedBrowser
) -> None:
    tenant.register(
        Client(
            "c0ffee00-0000-4000-8000-000000000001",
            DESKTOP.home,
            public=True,
            redirect_uris=("http://localhost",),
        )
    )
    browser.consent = "refuse"
    signing = authenticator(settings(client_id="c0ffee00-0000-4000-8000-000000000001"), seams)
    with pytest.raises(SignInRequired, match="65004"):
        await token_of(signing)
    await signing.close()


async def test_code_that_cannot_be_redeemed_is_explained_to_tool_and_person(
    tenant: Tenant, settings: Settings, seams: Seams, browser: ScriptedBrowser
) -> None:
    tenant.faults.next(Refusal(7000218))
    signing = authenticator(settings(), seams)
    with pytest.raises(AuthenticationFailed, match="7000218"):
        await token_of(signing)
    page = await visited(browser)
    await signing.close()

    assert "7000218" in page


async def test_second_sign_in_names_the_account_of_the_first(
    tenant: Tenant, settings: Settings, seams: Seams, browser: ScriptedBrowser, clock: FakeClock
) -> None:
    signing = authenticator(settings(), seams)
    await token_of(signing)
    addresses = []

    async def seen(url: str) -> None:
        async with browser._session.get(url, allow_redirects=False) as response:
            addresses.append(response.headers["Location"])
        await ScriptedBrowser.visit(browser, url)

    tenant.revoke(MEMBER.username)
    clock.advance(2 * HOUR)
    browser.acts = False
    waiter = asyncio.create_task(token_of(signing))
    await until(lambda: len(browser.opened) >= 2)
    await seen(browser.opened[1])
    await waiter
    await signing.close()

    assert "login_hint=ada%40clinic.example" in addresses[0]
    assert "select_account" not in addresses[0]


async def test_tokens_of_the_account_that_signed_in_last_are_renewed(
    tenant: Tenant, settings: Settings, seams: Seams, browser: ScriptedBrowser, clock: FakeClock
) -> None:
    signing = authenticator(settings(), seams)
    await token_of(signing)
    tenant.revoke(MEMBER.username)
    browser._session.cookie_jar.clear()
    browser.username = OTHER_MEMBER.username
    clock.advance(2 * HOUR)
    await token_of(signing)
    clock.advance(2 * HOUR)
    claims = tenant.verify(await token_of(signing), BASE_URL)
    await signing.close()

    assert claims.upn == OTHER_MEMBER.username


async def test_configured_tenant_is_not_asked_of_the_server(
    settings: Settings, seams: Seams, probe: Probes
) -> None:
    signing = authenticator(settings(), seams)
    await token_of(signing)
    await signing.close()

    assert probe.count == 0


async def test_forged_authority_of_a_challenge_is_refused(
    settings: Settings, seams: Seams, probe: Probes, browser: ScriptedBrowser
) -> None:
    field = ("WWW-Authenticate", 'Bearer authorization_uri="https://login.evil.example/t/oauth2/authorize"')
    probe.head = ResponseHead(401, b"", Fields.of([field]))
    signing = authenticator(settings(authority=None), seams)
    with pytest.raises(AuthenticationFailed, match=r"login\.evil\.example"):
        await token_of(signing)
    await signing.close()

    assert probe.count == 1
    assert not browser.opened


async def test_fixed_redirect_port_is_used(
    settings: Settings, seams: Seams, browser: ScriptedBrowser
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    signing = authenticator(settings(redirect_port=port), seams)
    await token_of(signing)
    await signing.close()

    assert browser.opened == [f"http://localhost:{port}"]


async def test_missing_client_id_is_named(settings: Settings, seams: Seams) -> None:
    with pytest.raises(ConfigError, match=r"client_id \(--client-id"):
        authenticator(settings(client_id=""), seams)


async def test_stop_ends_a_sign_in(settings: Settings, seams: Seams, browser: ScriptedBrowser) -> None:
    browser.acts = False
    signing = authenticator(settings(), seams)
    waiter = asyncio.create_task(token_of(signing))
    await until(lambda: browser.opened)
    await signing.close()
    outcome = await asyncio.gather(waiter, return_exceptions=True)

    assert "stopping" in str(outcome[0])


async def test_slow_entra_is_no_slow_person(
    tenant: Tenant, settings: Settings, seams: Seams, clock: FakeClock
) -> None:
    hang = Hang()
    tenant.faults.always(hang, endpoint=Endpoint.CONFIGURATION)
    signing = authenticator(settings(), seams)
    waiter = asyncio.create_task(token_of(signing))
    await hang.reached.wait()
    clock.advance(25)
    tenant.faults.clear()

    assert await waiter
    await signing.close()


async def test_nothing_is_written_anywhere(
    settings: Settings, seams: Seams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    for name in ("HOME", "USERPROFILE", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(home))
    signing = authenticator(settings(), seams)
    await token_of(signing)
    await signing.close()

    assert os.listdir(home) == []


async def test_no_secret_of_the_sign_in_is_logged_or_told(
    settings: Settings, seams: Seams, lines: list[str], clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    signing = authenticator(settings(), seams)
    first = await token_of(signing)
    clock.advance(2 * HOUR)
    second = await token_of(signing)
    told = caplog.text + "\n".join(lines) + repr(signing)
    await signing.close()

    assert first not in told
    assert second not in told
    assert "code=" not in told
    assert "state=" not in told
