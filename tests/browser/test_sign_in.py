"""The interactive sign-in, as a person makes it in a real browser before the sandbox's pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
from aiohttp import ClientSession
from playwright.async_api import BrowserContext, Page, expect

from proxy.sandbox import Sandbox
from proxy.sandbox.tenant import (
    DESKTOP,
    GUEST,
    MEMBER,
    OTHER_MEMBER,
    PARTNER,
    PASSWORD,
    STRANGER,
    Client,
    User,
)
from proxy.server import Proxy

from ..running import proxy_of, unattended
from .conftest import Chromium, sign_in

pytestmark = pytest.mark.asyncio(loop_scope="package")

UNTRUSTED = Client(
    "c0ffee00-0000-4000-8000-000000000001",
    DESKTOP.home,
    "Somebody's application",
    public=True,
    redirect_uris=("http://localhost",),
)
"""An application for which people have to consent."""


@dataclass
class Person:
    proxy: Proxy
    chromium: Chromium
    window: BrowserContext
    tool: ClientSession

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[tuple[Page, asyncio.Task[tuple[int, str]]]]:
        """The tab that opens for a tool's request, and what the tool gets at last."""
        request = asyncio.create_task(self._ask())
        yield await self.chromium.tabs.get(), request
        await request

    async def _ask(self) -> tuple[int, str]:
        async with self.tool.get(f"{self.proxy.url}/Patient") as answer:
            body = await answer.json(content_type=None)
            issue = body.get("issue", [{}])[0]
            return answer.status, issue.get("details", {}).get("text", "") + issue.get("diagnostics", "")

    @property
    def account(self) -> str:
        return self.proxy.watch.identity.account


@asynccontextmanager
async def person(sandbox: Sandbox, window: BrowserContext, **settings: object) -> AsyncIterator[Person]:
    chromium = Chromium(window)
    personal = {
        "auth": "interactive",
        "client_id": DESKTOP.client_id,
        "client_secret": None,
        "token_cache": "none",
        **settings,
    }
    seams = replace(unattended(), browser=chromium, attended=True)
    async with ClientSession() as tool, proxy_of(sandbox, seams, **personal) as proxy:
        yield Person(proxy, chromium, window, tool)


async def test_member_signs_in(sandbox: Sandbox, window: BrowserContext) -> None:
    async with person(sandbox, window) as someone:
        async with someone.asking() as (tab, request):
            await sign_in(tab, MEMBER.username, PASSWORD)
            await expect(tab.get_by_role("heading")).to_have_text("Signed in")
            await expect(tab.get_by_text(f"{MEMBER.username} is signed in")).to_be_visible()
            assert (200, "") == await request

        assert MEMBER.username == someone.account


async def test_mistyped_password_is_corrected(sandbox: Sandbox, window: BrowserContext) -> None:
    async with person(sandbox, window) as someone:
        async with someone.asking() as (tab, request):
            await sign_in(tab, MEMBER.username, "wrong")
            await expect(tab.get_by_role("alert")).to_have_attribute("data-code", "50126")
            await sign_in(tab, MEMBER.username, PASSWORD)
            assert (200, "") == await request


async def test_person_chooses_among_their_accounts(sandbox: Sandbox, window: BrowserContext) -> None:
    for account in (MEMBER, OTHER_MEMBER):  # each in a proxy of its own: both are known to the browser then
        async with person(sandbox, window) as someone:
            async with someone.asking() as (tab, request):
                await sign_in(tab, account.username, PASSWORD)
                await request
    async with person(sandbox, window) as someone:
        async with someone.asking() as (tab, request):
            await tab.get_by_role("button", name=MEMBER.username).click()
            assert (200, "") == await request

        assert MEMBER.username == someone.account


async def test_refused_consent_is_explained(sandbox: Sandbox, window: BrowserContext) -> None:
    sandbox.tenant.register(UNTRUSTED)
    async with person(sandbox, window, client_id=UNTRUSTED.client_id) as someone:
        async with someone.asking() as (tab, request):
            await sign_in(tab, MEMBER.username, PASSWORD)
            await expect(tab.get_by_text("user_impersonation")).to_be_visible()
            await tab.get_by_role("button", name="Cancel").click()
            await expect(tab.get_by_role("heading")).to_have_text("Sign-in failed")
            status, words = await request

    assert (503, True) == (status, "65004" in words)


async def test_given_consent_is_enough(sandbox: Sandbox, window: BrowserContext) -> None:
    sandbox.tenant.register(UNTRUSTED)
    async with person(sandbox, window, client_id=UNTRUSTED.client_id) as someone:
        async with someone.asking() as (tab, request):
            await sign_in(tab, MEMBER.username, PASSWORD)
            await tab.get_by_role("button", name="Accept").click()
            assert (200, "") == await request


async def test_cancelled_sign_in_is_explained(sandbox: Sandbox, window: BrowserContext) -> None:
    async with person(sandbox, window) as someone:
        async with someone.asking() as (tab, request):
            await tab.get_by_role("button", name="Cancel").click()
            await expect(tab.get_by_role("heading")).to_have_text("Sign-in failed")
            status, words = await request

    assert (503, True) == (status, "65004" in words)


async def test_wrong_account_is_refused_before_the_server_sees_it(
    sandbox: Sandbox, window: BrowserContext
) -> None:
    async with person(sandbox, window, account=MEMBER.username) as someone:
        async with someone.asking() as (tab, request):
            await sign_in(tab, OTHER_MEMBER.username, PASSWORD)
            words_shown = tab.get_by_text(f"{MEMBER.username} is the account to use")
            await expect(words_shown).to_be_visible()
            status, words = await request

    assert (503, True) == (status, f"{OTHER_MEMBER.username} signed in" in words)


async def test_stranger_stays_on_the_tenants_page(sandbox: Sandbox, window: BrowserContext) -> None:
    async with person(sandbox, window, sign_in_wait=0.2) as someone:
        async with someone.asking() as (tab, request):
            await sign_in(tab, STRANGER.username, PASSWORD)
            await expect(tab.get_by_role("alert")).to_have_attribute("data-code", "50020")
            status, _ = await request

    assert 503 == status


async def test_guest_comes_in_where_the_tenant_is_named(sandbox: Sandbox, window: BrowserContext) -> None:
    async with person(sandbox, window) as someone:
        async with someone.asking() as (tab, request):
            await sign_in(tab, GUEST.username, PASSWORD)
            assert (200, "") == await request


@pytest.mark.parametrize(
    ("account", "policy", "why"),
    [
        (GUEST, {"require_organizational_account": True}, "is a guest from"),
        (MEMBER, {"expect_tenant": PARTNER.id}, "may be used from"),
    ],
    ids=["guest", "tenant"],
)
async def test_account_that_the_policy_refuses_reads_why(
    sandbox: Sandbox, window: BrowserContext, account: User, policy: dict[str, object], why: str
) -> None:
    async with person(sandbox, window, **policy) as someone:
        async with someone.asking() as (tab, request):
            await sign_in(tab, account.username, PASSWORD)
            await expect(tab.get_by_role("heading")).to_have_text("Sign-in failed")
            status, words = await request

    assert (503, True) == (status, why in words)
    assert [] == sandbox.fhir.requests


async def test_closed_window_lets_the_tool_go_and_the_next_one_goes_on(
    sandbox: Sandbox, window: BrowserContext
) -> None:
    async with person(sandbox, window, sign_in_wait=0.2) as someone:
        async with someone.asking() as (tab, request):
            address = f"{tab.url.partition('redirect_uri=')[2].partition('&')[0]}"
            await tab.close()
            status, words = await request
        assert (503, True) == (status, "http://localhost:" in words)
        assert "localhost" in address

        again = await window.new_page()
        await again.goto("http://localhost:" + words.partition("http://localhost:")[2].split(".")[0])
        await sign_in(again, MEMBER.username, PASSWORD)
        await expect(again.get_by_role("heading")).to_have_text("Signed in")
        assert (200, "") == await someone._ask()
