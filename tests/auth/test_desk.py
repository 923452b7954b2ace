from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from proxy.auth import Desk, Seams, Start, authenticator, desk_of, opened_desk_of
from proxy.config import ServerConfig
from proxy.errors import ConfigError, SignInRequired
from proxy.sandbox.tenant import MEMBER, OTHER_MEMBER, Hang, Tenant

from ..fakes.browser import ScriptedBrowser
from ..fakes.clock import FakeClock
from .conftest import BASE_URL, Settings, token_of, until

BROWSER = Start("interactive", is_called_for=True)
ANOTHER = Start("interactive", other_account=True, is_called_for=True)
CODE = Start("device-code", is_called_for=True)
PAGE = "http://localhost:8079/#server-1"
HOUR = 3600.0


@pytest.fixture
async def settings(person_settings: Settings) -> Settings:
    return lambda **changes: person_settings(**{"auth": "interactive", **changes})


async def who(tenant: Tenant, desk: Desk) -> str:
    return tenant.verify(await token_of(desk), BASE_URL).upn


async def invited(desk: Desk, start: Start) -> asyncio.Task[None]:
    """A sign-in that has begun."""
    signing_in = asyncio.create_task(desk.sign_in(start))
    await asyncio.sleep(0)  # from here on the invitation to another way is withdrawn
    await desk.invited()
    return signing_in


DeskFor = Callable[[ServerConfig, Seams], Awaitable[Desk]]


@pytest.fixture
async def desk_for(tenant: Tenant) -> AsyncIterator[DeskFor]:
    async with AsyncExitStack() as stack:

        async def desk_for(config: ServerConfig, seams: Seams) -> Desk:
            desk = await opened_desk_of(authenticator(config, seams))
            stack.push_async_callback(desk.close)
            return desk

        yield desk_for


async def test_person_signs_in_before_any_request(
    desk_for: DeskFor, tenant: Tenant, settings: Settings, seams: Seams, browser: ScriptedBrowser
) -> None:
    desk = await desk_for(settings(), seams)
    signing_in = await invited(desk, BROWSER)
    assert desk.invitation is not None
    await browser.visit(desk.invitation.address)
    await signing_in

    assert MEMBER.username == await who(tenant, desk)
    assert (False, None, []) == (desk.is_open, desk.invitation, browser.opened)


async def test_waiting_request_is_served_by_another_way_than_it_began(
    desk_for: DeskFor,
    tenant: Tenant,
    settings: Settings,
    seams: Seams,
    browser: ScriptedBrowser,
    clock: FakeClock,
) -> None:
    browser.acts = False
    desk = await desk_for(settings(), seams)
    waiter = asyncio.create_task(token_of(desk))
    await until(lambda: browser.opened)
    signing_in = await invited(desk, CODE)
    invitation = desk.invitation
    assert invitation is not None
    assert ("device-code", True) == (invitation.method, invitation.address.endswith("/devicelogin"))
    assert f"with the code {invitation.code}" in invitation.text
    browser.user_code = invitation.code
    await browser.visit(invitation.address)
    await clock.slept(5)
    clock.advance(5)
    await signing_in

    assert MEMBER.username == tenant.verify(await waiter, BASE_URL).upn


async def test_asking_twice_is_one_sign_in(desk_for: DeskFor, settings: Settings, seams: Seams) -> None:
    desk = await desk_for(settings(), seams)
    first = await invited(desk, BROWSER)
    before = desk.invitation
    second = asyncio.create_task(desk.sign_in(BROWSER))
    await asyncio.sleep(0)
    assert before is desk.invitation

    await desk.cancel()
    outcomes = await asyncio.gather(first, second, return_exceptions=True)
    assert [True, True] == ["was cancelled" in str(outcome) for outcome in outcomes]


async def test_cancelled_sign_in_lets_the_waiting_request_go(
    desk_for: DeskFor, settings: Settings, seams: Seams, browser: ScriptedBrowser
) -> None:
    browser.acts = False
    desk = await desk_for(settings(), replace(seams, page=lambda: PAGE))
    waiter = asyncio.create_task(token_of(desk))
    await until(lambda: desk.invitation)
    await desk.cancel()

    with pytest.raises(SignInRequired, match="was cancelled") as raised:
        await waiter
    assert PAGE in raised.value.hint
    assert not desk.is_open


async def test_nothing_to_cancel_is_no_harm(desk_for: DeskFor, settings: Settings, seams: Seams) -> None:
    desk = await desk_for(settings(), seams)
    await desk.cancel()

    assert await token_of(desk)


async def test_other_account_takes_over_and_is_noticed(
    desk_for: DeskFor,
    tenant: Tenant,
    settings: Settings,
    seams: Seams,
    browser: ScriptedBrowser,
    lines: list[str],
) -> None:
    desk = await desk_for(settings(), seams)
    before = await token_of(desk)
    signing_in = await invited(desk, ANOTHER)
    assert desk.invitation is not None
    assert before == await token_of(desk)  # requests go on as before until it is done
    async with browser._session.get(desk.invitation.address, allow_redirects=False) as response:
        asked = response.headers["Location"]
    browser._session.cookie_jar.clear()
    browser.username = OTHER_MEMBER.username
    await browser.visit(desk.invitation.address)
    await signing_in

    assert OTHER_MEMBER.username == await who(tenant, desk)
    assert ("prompt=select_account" in asked, "login_hint" in asked) == (True, False)
    assert f"{BASE_URL}: requests are made as another account from now on" in lines


async def test_switch_that_is_cancelled_changes_nothing(
    desk_for: DeskFor, tenant: Tenant, settings: Settings, seams: Seams, browser: ScriptedBrowser
) -> None:
    desk = await desk_for(settings(), seams)
    before = await token_of(desk)
    signing_in = await invited(desk, ANOTHER)
    await desk.cancel()
    with pytest.raises(SignInRequired):
        await signing_in

    assert before == await token_of(desk)


@pytest.mark.parametrize("token_cache", ["none", "file"])
async def test_signed_out_person_is_asked_again(
    desk_for: DeskFor,
    tenant: Tenant,
    settings: Settings,
    seams: Seams,
    browser: ScriptedBrowser,
    token_cache: str,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    config = settings(token_cache=token_cache)
    desk = await desk_for(config, seams)
    before = await token_of(desk)
    await desk.sign_out()
    after = await token_of(desk)
    await desk.sign_out()
    later = await desk_for(config, seams)
    await token_of(later)

    assert before != after
    assert 3 == len(browser.opened)
    assert ["authorization_code"] * 3 == [request.grant_type for request in tenant.token_requests]


async def test_sign_out_ends_a_sign_in_that_is_open(
    desk_for: DeskFor, settings: Settings, seams: Seams
) -> None:
    desk = await desk_for(settings(), seams)
    signing_in = await invited(desk, BROWSER)
    await desk.sign_out()

    with pytest.raises(SignInRequired, match="was cancelled"):
        await signing_in


async def test_call_during_a_renewal_is_answered_after_it(
    desk_for: DeskFor,
    tenant: Tenant,
    settings: Settings,
    seams: Seams,
    browser: ScriptedBrowser,
    clock: FakeClock,
) -> None:
    desk = await desk_for(settings(), seams)
    await token_of(desk)
    tenant.faults.next(hang := Hang())
    clock.advance(2 * HOUR)
    waiter = asyncio.create_task(token_of(desk))
    await hang.reached.wait()
    signing_in = asyncio.create_task(desk.sign_in(ANOTHER))
    tenant.faults.clear()
    assert await waiter
    await desk.invited()
    await desk.cancel()

    with pytest.raises(SignInRequired, match="was cancelled"):
        await signing_in


async def test_without_a_terminal_the_page_is_opened_and_told(
    desk_for: DeskFor,
    tenant: Tenant,
    settings: Settings,
    seams: Seams,
    browser: ScriptedBrowser,
    clock: FakeClock,
    lines: list[str],
) -> None:
    browser.acts = False
    desk = await desk_for(settings(), replace(seams, attended=False, page=lambda: PAGE))
    waiter = asyncio.create_task(token_of(desk))
    await until(lambda: browser.opened)
    clock.advance(20)
    with pytest.raises(SignInRequired) as raised:
        await waiter
    assert f"Sign in at {PAGE}. Then try again." == raised.value.hint
    assert [PAGE] == browser.opened
    assert [f"{BASE_URL}: Sign in at {PAGE}"] == lines

    signing_in = await invited(desk, BROWSER)
    assert desk.invitation is not None
    await browser.visit(desk.invitation.address)
    await signing_in
    assert MEMBER.username == await who(tenant, desk)


async def test_at_a_terminal_the_page_is_told_beside_the_way(
    desk_for: DeskFor, settings: Settings, seams: Seams, browser: ScriptedBrowser, clock: FakeClock
) -> None:
    browser.acts = False
    desk = await desk_for(settings(), replace(seams, page=lambda: PAGE))
    waiter = asyncio.create_task(token_of(desk))
    await until(lambda: browser.opened)
    clock.advance(20)
    with pytest.raises(SignInRequired) as raised:
        await waiter

    assert re.fullmatch(
        rf"Sign in with the browser at http://localhost:\d+, or on the proxy's own page, {PAGE}\. "
        r"Then try again\.",
        raised.value.hint,
    )


async def test_auto_has_a_desk_once_it_has_chosen(settings: Settings, seams: Seams) -> None:
    signing = authenticator(settings(auth="auto"), seams)
    assert desk_of(signing) is None

    assert await opened_desk_of(signing) is desk_of(signing)
    await signing.close()


async def test_where_no_person_signs_in_there_is_no_desk(app_settings: Settings, seams: Seams) -> None:
    signing = authenticator(app_settings(), seams)

    with pytest.raises(ConfigError, match="Nobody signs in"):
        await opened_desk_of(signing)
    await signing.close()
