"""A person at a browser, who follows the sandbox's sign-in pages."""

from __future__ import annotations

import asyncio
import ssl
import threading
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

from aiohttp import ClientSession, TCPConnector

from proxy.sandbox.tenant import MEMBER, PASSWORD


@dataclass
class Form:
    """A form as it stands on a page; buttons by name, with their values."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)


class Page(HTMLParser):
    """What a person sees: the page's name, its text, its forms, its error's code."""

    def __init__(self, url: str, status: int, html: str) -> None:
        super().__init__()
        self.url = url
        self.status = status
        self.name = ""
        self.text = ""
        self.code = ""
        self.forms: list[Form] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        self.name = values.get("data-page", self.name)
        self.code = values.get("data-code", self.code)
        if tag == "form":
            self.forms.append(Form(urljoin(self.url, values["action"])))
        if tag == "input":
            self.forms[-1].fields[values["name"]] = values.get("value", "")
        if tag == "button" and "name" in values:
            self.forms[-1].buttons.append((values["name"], values["value"]))

    def handle_data(self, data: str) -> None:
        self.text += data


class ScriptedBrowser:
    """Signs `username` in, and consents or not; keeps its cookies from one visit to the next."""

    def __init__(self, ca_pem: bytes, username: str = MEMBER.username) -> None:
        self.username = username
        self.password = PASSWORD
        self.choice = "sign-in"
        """`cancel` for a person who thinks better of it."""
        self.consent = "accept"
        """`refuse` for one who does so later."""
        self.user_code = ""
        self.starts = True
        """False for a machine without a browser."""
        self.blocks = False
        """True for a command in BROWSER that waits until its window is closed."""
        self.acts = True
        """False for a person who is not there."""
        self.opened: list[str] = []
        self.pages: asyncio.Queue[Page] = asyncio.Queue()
        """The last page of each visit."""
        self.closed = threading.Event()
        context = ssl.create_default_context(cadata=ca_pem.decode())
        self._loop = asyncio.get_running_loop()
        self._session = ClientSession(connector=TCPConnector(ssl=context))
        self._visits: list[object] = []

    def open(self, url: str) -> bool:
        """Be called from any thread, as the system's browser is."""
        self.opened.append(url)
        if self.starts and self.acts:
            self._visits.append(asyncio.run_coroutine_threadsafe(self.visit(url), self._loop))
        if self.blocks:
            self.closed.wait()
        return self.starts

    async def visit(self, url: str) -> Page:
        """Follow the pages to the last one."""
        async with self._session.get(url) as response:
            page = Page(str(response.url), response.status, await response.text())
        while (filled := self._filled(page)) is not None:
            action, fields = filled
            async with self._session.post(action, data=fields) as response:
                page = Page(str(response.url), response.status, await response.text())
        self.pages.put_nowait(page)
        return page

    async def close(self) -> None:
        self.closed.set()
        await self._session.close()

    def _filled(self, page: Page) -> tuple[str, dict[str, str]] | None:
        """The form that the person sends, with what they typed and the button they pressed."""
        typed = {
            "sign-in": {"username": self.username, "password": self.password, "choice": self.choice},
            "consent": {"choice": self.consent},
            "form-post": {},
            "device-code": {"user_code": self.user_code},
        }.get(page.name)
        if typed is None or page.code:
            return None
        accounts = [form for form in page.forms if ("account", self.username) in form.buttons]
        if accounts:
            return accounts[0].action, {**accounts[0].fields, "account": self.username}
        return page.forms[-1].action, {**page.forms[-1].fields, **typed}
