"""The page of the admin listener in a real browser: what a person does there, in both themes, on a desk and a phone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Literal

import pytest
import pytest_asyncio
from aiohttp import ClientSession
from playwright.async_api import Browser, BrowserContext, Page, expect

from proxy.sandbox import Sandbox
from proxy.sandbox.tenant import DESKTOP, MEMBER, OTHER_MEMBER, PASSWORD

from ..admin.running import Operated, operated_before
from ..clients.building import node_modules
from ..running import unattended
from .conftest import HERE, SHOTS, Chromium, sign_in

pytestmark = pytest.mark.asyncio(loop_scope="package")

PERSONAL = {
    "auth": "interactive",
    "client_id": DESKTOP.client_id,
    "client_secret": None,
    "token_cache": "none",
}


@dataclass
class Seen:
    """The page in a window, and a tool that uses the proxy."""

    running: Operated
    page: Page
    window: BrowserContext
    tool: ClientSession
    complaints: list[str]

    async def ask(self, target: str = "/Patient") -> int:
        async with self.tool.get(self.running.proxy.url + target) as answer:
            await answer.read()
            return answer.status

    async def press(self, name: str) -> None:
        await self.page.get_by_role("button", name=name, exact=True).click()

    async def press_and_sign_in(self, name: str, username: str = MEMBER.username) -> None:
        """Press a button that opens the sign-in page, and go through it there."""
        async with self.window.expect_page() as opening:
            await self.press(name)
        tab = await opening.value
        await sign_in(tab, username, PASSWORD)
        await expect(tab.get_by_role("heading")).to_have_text("Signed in")
        await tab.close()

    async def state(self, text: str) -> None:
        """Wait until the page says it of the server."""
        await expect(self.page.locator("p.state")).to_contain_text(text)


async def seen(sandbox: Sandbox, window: BrowserContext) -> AsyncIterator[Seen]:
    seams = replace(unattended(), browser=Chromium(window))
    async with operated_before(sandbox, seams, **PERSONAL) as running, ClientSession() as tool:
        page = await window.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(running.url)
        yield Seen(running, page, window, tool, complaints)
        assert [] == complaints


@pytest_asyncio.fixture(loop_scope="package")
async def shown(sandbox: Sandbox, window: BrowserContext) -> AsyncIterator[Seen]:
    sandbox.tenant.lifetimes.device_interval = 0.05
    async for one in seen(sandbox, window):
        yield one


async def test_person_signs_in_switches_and_signs_out_by_buttons(shown: Seen) -> None:
    await shown.state("Not ready")
    await shown.press_and_sign_in("Sign in with the browser")
    await shown.state("Ready")
    await expect(shown.page.get_by_text(MEMBER.username)).to_be_visible()

    await shown.window.clear_cookies()
    await shown.press_and_sign_in("Switch account", OTHER_MEMBER.username)
    await expect(shown.page.get_by_text(OTHER_MEMBER.username)).to_be_visible()

    await shown.press("Sign out")
    await shown.state("Not ready")
    await expect(shown.page.locator("dd").first).to_have_text("nobody")


async def test_code_is_shown_copied_and_typed_elsewhere(shown: Seen) -> None:
    await shown.window.grant_permissions(["clipboard-read", "clipboard-write"])
    await shown.press("Use a device code")
    code = await shown.page.locator(".code").inner_text()
    await expect(shown.page.get_by_role("img", name="QR code of")).to_be_visible()
    await shown.press("Copy the code")
    assert code == await shown.page.evaluate("navigator.clipboard.readText()")

    async with shown.window.expect_page() as opening:
        await shown.page.get_by_role("link", name="/devicelogin").click()
    device = await opening.value
    await device.get_by_label("Code shown on your device").fill(code)
    await device.get_by_role("button", name="Next").click()
    await sign_in(device, MEMBER.username, PASSWORD)
    await shown.state("Ready")


async def test_tool_that_waits_is_seen_and_served(shown: Seen) -> None:
    waiting = asyncio.create_task(shown.ask())
    await shown.state("Waiting for somebody to sign in")
    await expect(shown.page.get_by_text("A tool waits for somebody to sign in.")).to_be_visible()
    await shown.press_and_sign_in("Sign in with the browser")

    assert 200 == await waiting
    await expect(shown.page.get_by_role("cell", name="search-type Patient")).to_be_visible()


async def test_cancelled_sign_in_leaves_the_buttons(shown: Seen) -> None:
    await shown.press("Use a device code")
    await shown.press("Cancel")

    await expect(shown.page.get_by_role("button", name="Sign in with the browser")).to_be_visible()
    await expect(shown.page.get_by_text("was cancelled")).to_be_visible()


async def test_keyboard_alone_is_enough(shown: Seen) -> None:
    for _ in range(20):
        await shown.page.keyboard.press("Tab")
        if "Use a device code" == await shown.page.evaluate("document.activeElement.textContent.trim()"):
            break
    await shown.page.keyboard.press("Enter")
    await expect(shown.page.locator(".code")).to_be_visible()
    while "Cancel" != await shown.page.evaluate("document.activeElement.textContent.trim()"):
        await shown.page.keyboard.press("Tab")
    await shown.page.keyboard.press("Enter")

    await expect(shown.page.locator(".code")).to_have_count(0)
    assert "BUTTON" == await shown.page.evaluate("document.activeElement.tagName")


async def test_what_changes_is_said_once(shown: Seen) -> None:
    await shown.press_and_sign_in("Sign in with the browser")

    await expect(shown.page.get_by_role("status")).to_have_text("Ready")


async def test_page_without_script_signs_in_by_its_forms(chromium: Browser, sandbox: Sandbox) -> None:
    window = await chromium.new_context(ignore_https_errors=True, java_script_enabled=False)
    async for one in seen(sandbox, window):
        await one.press("Sign in with the browser")
        address = await one.page.get_by_role("link", name="open the sign-in page").get_attribute("href")
        assert address is not None
        assert address.startswith("http://localhost:")
        await one.press("Cancel")
        await expect(one.page.get_by_text("was cancelled")).to_be_visible()


async def test_page_of_a_proxy_that_stopped_says_so(shown: Seen) -> None:
    await shown.page.route("**/parts", lambda route: route.fulfill(status=500))

    await expect(shown.page.locator("#gone")).to_be_visible()
    await expect(shown.page.get_by_role("status")).to_contain_text("does not answer any more")
    await shown.page.unroute("**/parts")
    await expect(shown.page.locator("#gone")).to_be_hidden()
    shown.complaints.clear()


Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")
WIDTHS = {"desk": 1100, "phone": 390}


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
@pytest.mark.parametrize("theme", THEMES)
async def test_page_is_accessible_in_every_state(
    sandbox: Sandbox, chromium: Browser, theme: Theme, width: int
) -> None:
    axe = (node_modules(HERE) / "axe-core" / "axe.min.js").read_text("utf-8")
    window = await chromium.new_context(
        ignore_https_errors=True, color_scheme=theme, viewport={"width": width, "height": 900}
    )
    window.set_default_timeout(15_000)
    SHOTS.mkdir(exist_ok=True)

    async def judged(one: Seen, state: str) -> None:
        await one.page.screenshot(path=SHOTS / f"{theme}-{width}-{state}.png", full_page=True)
        await one.page.evaluate(axe)
        found = await one.page.evaluate("axe.run().then(({violations}) => violations)")
        assert [] == [
            (violation["id"], [node["html"][:120] for node in violation["nodes"]]) for violation in found
        ], state
        assert width >= await one.page.evaluate("document.documentElement.scrollWidth")

    async for one in seen(sandbox, window):
        await judged(one, "signed-out")
        await one.press("Use a device code")
        await expect(one.page.locator(".code")).to_be_visible()
        await judged(one, "device-code")
        await one.press("Cancel")
        await expect(one.page.get_by_text("was cancelled")).to_be_visible()
        await judged(one, "problem")
        await one.press_and_sign_in("Sign in with the browser")
        await one.state("Ready")
        for target in ("/Patient", "/Patient?_count=1", "/Patient/none", "/metadata", "/Observation") * 3:
            await one.ask(target)
        await expect(one.page.get_by_role("cell", name="read Patient").first).to_be_visible()
        await judged(one, "in-use")
