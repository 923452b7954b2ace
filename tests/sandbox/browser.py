"""A browser without script: follows nothing by itself, fills in forms, keeps cookies."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urljoin, urlsplit

import requests

from proxy.sandbox.tenant import User


def open_session(ca_file: str) -> requests.Session:
    """A session that trusts one certificate authority and nothing of the environment."""
    session = requests.Session()
    session.trust_env = False
    session.verify = ca_file
    session.request = functools.partial(session.request, timeout=10)  # type: ignore[method-assign]
    return session


@dataclass
class Form:
    action: str
    fields: dict[str, str] = field(default_factory=dict)
    """Hidden and filled fields."""
    buttons: list[tuple[str, str]] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page, self.code, self.forms = "", 0, list[Form]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.page = values.get("data-page", self.page)
        self.code = int(values.get("data-code", self.code))
        if tag == "form":
            self.forms.append(Form(values["action"]))
        if tag == "input":
            self.forms[-1].fields[values["name"]] = values.get("value", "")
        if tag == "button":
            self.forms[-1].buttons.append((values.get("name", ""), values.get("value", "")))


@dataclass
class Page:
    url: str
    status: int
    text: str
    headers: dict[str, str]
    name: str
    """The page's `data-page`: sign-in, consent, form-post, device-code, error… Empty for a redirect."""
    code: int
    """The AADSTS code that the page tells, 0 for none."""
    forms: list[Form]

    @property
    def carried(self) -> dict[str, str]:
        """What is carried to the redirect URI, by a form or in a query."""
        if self.name == "form-post":
            return self.forms[0].fields
        return dict(parse_qsl(urlsplit(self.headers["location"]).query))


class Browser:
    """One person's browser."""

    def __init__(self, session: requests.Session) -> None:
        self.session = session

    def open(self, url: str, parameters: dict[str, str] | None = None) -> Page:
        """Go to an address."""
        return self._read(self.session.get(url, params=parameters, allow_redirects=False))

    def submit(self, page: Page, *, form: int = -1, **fields: str) -> Page:
        """Send one of a page's forms, the last unless told, with more fields filled in."""
        chosen = page.forms[form]
        url = urljoin(page.url, chosen.action)
        data = {**chosen.fields, **fields}
        return self._read(self.session.post(url, data=data, allow_redirects=False))

    def sign_in(self, page: Page, user: User, *, accept: bool = True) -> Page:
        """Give name and password, and answer the consent page if there is one."""
        after = self.submit(page, username=user.username, password=user.password, choice="sign-in")
        if after.name == "consent":
            after = self.submit(after, choice="accept" if accept else "refuse")
        return after

    def enter_device_code(self, url: str, user_code: str) -> Page:
        """Enter the code that a device shows; the sign-in page comes next."""
        return self.submit(self.open(url), user_code=user_code)

    def _read(self, response: requests.Response) -> Page:
        reader = _Reader()
        reader.feed(response.text)
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Page(
            response.url,
            response.status_code,
            response.text,
            headers,
            reader.page,
            reader.code,
            reader.forms,
        )
