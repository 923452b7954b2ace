"""Who may sign in: guests, personal accounts, the account that is named."""

from __future__ import annotations

import asyncio

import pytest

from proxy.auth import Seams, authenticator, desk_of
from proxy.errors import ProxyError, SignInRequired
from proxy.sandbox.tenant import (
    CLINIC,
    DESKTOP,
    GUEST,
    MEMBER,
    OTHER_MEMBER,
    PARTNER,
    PERSONAL_USER,
    Resource,
    Tenant,
    User,
)

from ..fakes.browser import ScriptedBrowser
from ..fakes.clock import FakeClock
from .conftest import BASE_URL, Settings, token_of, until


@pytest.fixture
def settings(person_settings: Settings) -> Settings:
    return lambda **changes: person_settings(**{"auth": "interactive", **changes})


async def test_guest_comes_in_where_the_tenant_is_named(
    tenant: Tenant, settings: Settings, seams: Seams, browser: ScriptedBrowser, lines: list[str]
) -> None:
    browser.username = GUEST.username
    signing = authenticator(settings(), seams)
    claims = tenant.verify(await token_of(signing), BASE_URL)
    await signing.close()

    assert claims.tid == CLINIC.id
    assert lines[-1] == f"{BASE_URL}: signed in as {GUEST.username} in tenant {CLINIC.id}"


async def refused(
    settings: Settings, seams: Seams, browser: ScriptedBrowser, **changes: object
) -> ProxyError:
    """The error for a sign-in that worked and is not taken."""
    signing = authenticator(settings(**changes), seams)
    with pytest.raises(SignInRequired) as raised:
        await token_of(signing)
    page = await browser.pages.get()
    await signing.close()
    assert "Sign-in failed" in page.text
    return raised.value


async def test_personal_account_is_refused_where_no_tenant_is_named(
    tenant: Tenant, settings: Settings, seams: Seams, browser: ScriptedBrowser
) -> None:
    tenant.register(Resource(BASE_URL, preauthorized=frozenset({DESKTOP.client_id}), token_version=2))
    browser.username = PERSONAL_USER.username
    error = await refused(settings, seams, browser, authority=f"{tenant.origin}/common")

    assert f"{PERSONAL_USER.username} is a personal account" in error.message
    assert "Nothing was sent" in error.message
    assert "--tenant" in error.hint


async def test_member_signs_in_where_no_tenant_is_named(
    tenant: Tenant, settings: Settings, seams: Seams, lines: list[str]
) -> None:
    signing = authenticator(settings(authority=f"{tenant.origin}/organizations"), seams)
    claims = tenant.verify(await token_of(signing), BASE_URL)
    await signing.close()

    assert claims.tid == CLINIC.id
    assert lines[-1].endswith(f"in tenant {CLINIC.id}")


REFUSED = [
    pytest.param({"require_organizational_account": True}, GUEST, f"a guest from {PARTNER.id}", id="guest"),
    pytest.param({"expect_tenant": PARTNER.id}, MEMBER, f"of the tenant {CLINIC.id}", id="tenant"),
    pytest.param({"account": MEMBER.username}, OTHER_MEMBER, OTHER_MEMBER.username, id="account"),
]


@pytest.mark.parametrize(("changes", "user", "words"), REFUSED)
async def test_account_that_the_settings_refuse_is_told_why(
    settings: Settings,
    seams: Seams,
    browser: ScriptedBrowser,
    changes: dict[str, object],
    user: User,
    words: str,
) -> None:
    browser.username = user.username
    error = await refused(settings, seams, browser, **changes)

    assert words in error.message


async def test_after_a_refused_account_another_one_can_sign_in(
    tenant: Tenant, settings: Settings, seams: Seams, browser: ScriptedBrowser, clock: FakeClock
) -> None:
    browser.username = OTHER_MEMBER.username
    signing = authenticator(settings(account=MEMBER.username), seams)
    with pytest.raises(SignInRequired):
        await token_of(signing)
    clock.advance(10)
    waiter = asyncio.create_task(token_of(signing))
    await until(lambda: desk_of(signing).invitation)
    browser.username = MEMBER.username
    where = desk_of(signing).invitation.address
    async with browser._session.get(where, allow_redirects=False) as response:
        address = response.headers["Location"]
    await browser.visit(address)
    claims = tenant.verify(await waiter, BASE_URL)
    await signing.close()

    assert claims.upn == MEMBER.username
    assert "prompt=select_account" in address
    assert "login_hint=ada%40clinic.example" in address


async def test_named_account_is_hinted_at_first(
    tenant: Tenant, settings: Settings, seams: Seams, browser: ScriptedBrowser
) -> None:
    browser.acts = False
    signing = authenticator(settings(account=MEMBER.username), seams)
    waiter = asyncio.create_task(token_of(signing))
    await until(lambda: browser.opened)
    async with browser._session.get(browser.opened[0], allow_redirects=False) as response:
        address = response.headers["Location"]
    await browser.visit(address)
    await waiter
    await signing.close()

    assert "login_hint=ada%40clinic.example" in address
    assert "select_account" not in address
