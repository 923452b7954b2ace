"""A real Chromium without a window, as a person's browser."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from proxy.sandbox import Sandbox

from ..clients.building import missing

NAMES = ("chromium", "chromium-browser", "google-chrome")
HERE = Path(__file__).parent
SHOTS = HERE / "screenshots"
"""What the pages look like, for people; git ignores it."""


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def chromium() -> AsyncIterator[Browser]:
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        missing("Chromium is not installed")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="package")
async def window(chromium: Browser) -> AsyncIterator[BrowserContext]:
    """A window with cookies of its own; it trusts the sandbox's certificate as a person does who clicks it away."""
    context = await chromium.new_context(ignore_https_errors=True)
    context.set_default_timeout(15_000)
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="package")
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(patients=3) as running:
        yield running


class Chromium:
    """The browser of the machine: what the proxy opens appears as a tab of the window."""

    def __init__(self, window: BrowserContext) -> None:
        self._window = window
        self._loop = asyncio.get_running_loop()
        self.tabs: asyncio.Queue[Page] = asyncio.Queue()

    def open(self, url: str) -> bool:
        asyncio.run_coroutine_threadsafe(self._open(url), self._loop)
        return True

    async def _open(self, url: str) -> None:
        tab = await self._window.new_page()
        await tab.goto(url)
        self.tabs.put_nowait(tab)


async def sign_in(tab: Page, username: str, password: str) -> None:
    """Fill in the tenant's sign-in page and send it."""
    await tab.get_by_label("Account").fill(username)
    await tab.get_by_label("Password").fill(password)
    await tab.get_by_role("button", name="Sign in", exact=True).click()
