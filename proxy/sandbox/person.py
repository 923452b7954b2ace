"""A person who signs in to the sandbox: reads its pages, fills in their forms, needs no script.

It stands in for a browser where none can be opened: in `demo --check` and in tests.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

import requests

from .tenant import MEMBER, User

SECONDS = 10
"""How long one page may take."""

DEVICE_MESSAGE = re.compile(
    r"(?P<page>https://\S+/devicelogin)\b.*?\bcode\s+(?P<code>[A-Z0-9]{6,12})\b", re.DOTALL
)
"""Entra's own words: "To sign in, use a web browser to open the page … and enter the code … to authenticate."."""


class Person:
    """Signs in as one user; `accepts` says what to answer where the tenant asks for consent.

    Blocks while it reads pages, as a browser that is started in the foreground does.
    """

    def __init__(self, ca_file: str, user: User = MEMBER, *, accepts: bool = True) -> None:
        self._session = requests.Session()
        self._session.trust_env = False  # REQUESTS_CA_BUNDLE would take the place of the sandbox's authority.
        self._session.verify = ca_file
        self._user = user
        self._accepts = accepts

    def open(self, url: str) -> bool:
        """Go to a sign-in address and do what its pages ask for, to the end."""
        self._go_on(self._get(url))
        return True

    def read(self, line: str) -> None:
        """Act on what the terminal shows, in the background: only a device code needs a person."""
        found = DEVICE_MESSAGE.search(line)
        if found:
            threading.Thread(target=self._enter, args=(found["page"], found["code"]), daemon=True).start()

    def _enter(self, page_url: str, code: str) -> None:
        self._go_on(self._submit(self._get(page_url), {"user_code": code}))

    def _go_on(self, page: _Page) -> None:
        while page.forms:
            page = self._submit(page, self._answers(page.name))

    def _submit(self, page: _Page, answers: dict[str, str]) -> _Page:
        form = page.forms[-1]
        url = urljoin(page.url, form.action)
        return _Page.of(self._session.post(url, data={**form.fields, **answers}, timeout=SECONDS))

    def _get(self, url: str) -> _Page:
        return _Page.of(self._session.get(url, timeout=SECONDS))

    def _answers(self, page: str) -> dict[str, str]:
        match page:
            case "sign-in":
                return {"username": self._user.username, "password": self._user.password, "choice": "sign-in"}
            case "consent":
                return {"choice": "accept" if self._accepts else "refuse"}
            case _:
                return {}


@dataclass(slots=True)
class _Form:
    action: str
    fields: dict[str, str] = field(default_factory=dict)


class _Page(HTMLParser):
    """The name and the forms of a page."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.name = ""
        self.forms: list[_Form] = []

    @classmethod
    def of(cls, response: requests.Response) -> _Page:
        page = cls(response.url)
        page.feed(response.text)
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.name = values.get("data-page", self.name)
        if tag == "form":
            self.forms.append(_Form(values.get("action", "")))
        elif tag == "input" and self.forms:
            self.forms[-1].fields[values.get("name", "")] = values.get("value", "")
