from __future__ import annotations

import asyncio
import re
import shlex
import shutil
import sys
from collections.abc import AsyncIterator
from html.parser import HTMLParser

import pytest
from aiohttp import ClientSession

from proxy.admin.page import STYLE, page, shown
from proxy.admin.snippets import SNIPPETS, URL_PLACE, Snippet
from proxy.admin.traffic import Traffic
from proxy.sandbox import Sandbox
from proxy.sandbox.tenant import SERVICE

from ..running import proxy_before
from .running import operated, operated_before

KEY = "the-key-of-the-process"
SIGN_IN = {"methods": ["interactive", "device-code"], "account": "", "is_open": False, "invitation": None}
NOW = 1_800_000_005.0
EVIL = "<script>alert(1)</script>\"'&"


def server(**facts: object) -> dict[str, object]:
    return {
        "base_url": "https://fhir.example",
        "local_url": "http://localhost:8080",
        "method": "interactive",
        "ready": True,
        "why": "",
        "account": "",
        "application": "",
        "tenant": "",
        "token_valid_until": None,
        "last_problem": None,
        "warnings": [],
        "sign_in": SIGN_IN,
        "traffic": shown(Traffic(), NOW),
        **facts,
    }


def rendered(*servers: dict[str, object]) -> str:
    numbered = [{**server, "number": number} for number, server in enumerate(servers, 1)]
    status = {"version": "1.2.3", "ready": all(one["ready"] for one in servers)}
    return page(status, numbered, KEY)


def invited(**facts: object) -> dict[str, object]:
    """A server where somebody is asked to sign in."""
    asked = {"method": None, "text": "Sign in", "address": "", "code": "", "expires_at": None, **facts}
    return server(ready=False, why="Nobody.", sign_in={**SIGN_IN, "is_open": True, "invitation": asked})


class Read(HTMLParser):
    """A page as a reader takes it: its words, and the elements that it is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words = ""
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs
        if tag not in {"meta", "link", "input"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        self.words += data


TELLING = [
    ({}, "✓ Ready"),
    ({"ready": False, "why": "Nobody has signed in."}, "Nobody has signed in."),
    ({"account": "ada@example.org", "application": "app"}, "ada@example.org"),
    ({"application": "app"}, "app"),
    ({"tenant": "contoso.example"}, "contoso.example"),
    ({"token_valid_until": "2026-11-22T17:00:00+00:00"}, "2026-11-22T17:00:00+00:00"),
    ({"last_problem": {"at": "2026-11-22T17:00:00+00:00", "message": "No.", "hint": "Do."}}, "No. Do."),
    ({"warnings": [{"message": "The audience is off.", "hint": "Set --audience."}]}, "off. Set --audience."),
    ({"ready": False}, "fhir-auth-proxy doctor https://fhir.example"),
    ({}, "Sign in with the browser"),
    ({"sign_in": {**SIGN_IN, "account": "ada"}}, "Switch account"),
    ({}, "No tool has asked for anything yet."),
]


@pytest.mark.parametrize(("facts", "words"), TELLING)
def test_page_tells(facts: dict[str, object], words: str) -> None:
    assert words in Read(rendered(server(**facts))).words


def test_every_server_has_its_part_with_its_own_address() -> None:
    text = Read(rendered(server(local_url="http://localhost:1"), server(local_url="http://localhost:2")))

    assert 2 == text.elements.count("section")
    assert all(f"curl 'http://localhost:{port}/Patient?_count=2'" in text.words for port in (1, 2))


@pytest.mark.parametrize(
    "facts",
    [
        {"why": EVIL, "ready": False},
        {"account": EVIL, "tenant": EVIL, "token_valid_until": EVIL},
        {"last_problem": {"at": EVIL, "message": EVIL, "hint": EVIL}},
        {"base_url": EVIL, "local_url": EVIL, "method": EVIL},
        {"warnings": [{"message": EVIL, "hint": EVIL}]},
        invited(text=EVIL, address=EVIL, code=EVIL, expires_at=EVIL),
        invited(method="interactive", address=EVIL),
    ],
)
def test_what_others_say_is_text(facts: dict[str, object]) -> None:
    read = Read(rendered(server(**facts)))

    assert EVIL in read.words
    assert ["/page.js"] == [value for name, value in read.attributes if name == "src"]
    assert 1 == read.elements.count("script")
    assert not [name for name, _ in read.attributes if name.startswith("on") or name == "style"]


def test_page_is_whole_and_named() -> None:
    read = Read(rendered(server()))

    assert [] == read.open
    assert ("lang", "en") in read.attributes
    assert ["h1", "h2", "h3", "h3", "h3"] == [
        element for element in read.elements if re.fullmatch("h[1-6]", element)
    ]
    assert [] == [
        value for name, value in read.attributes if name in {"href", "src"} and not value.startswith("/")
    ]


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "http://evil.example", "http://localhost.evil.example/", "data:,x"]
)
def test_only_sign_in_pages_are_led_to(address: str) -> None:
    read = Read(rendered(invited(method="interactive", address=address)))

    assert [] == [value for name, value in read.attributes if name == "href" and value == address]


def test_device_code_is_large_and_a_picture() -> None:
    asked = invited(
        method="device-code",
        address="https://login.example/device",
        code="ABCD1234",
        expires_at="2026-11-22T17:00:00+00:00",
    )
    read = Read(rendered(asked))

    assert "ABCD1234" in read.words
    assert ("aria-label", "QR code of https://login.example/device") in read.attributes
    assert "svg" in read.elements


def test_nobody_signs_in_where_none_can() -> None:
    read = Read(rendered(server(sign_in={**SIGN_IN, "methods": []})))

    assert "Sign in with" not in read.words


def test_every_form_brings_the_key() -> None:
    for facts in (server(), server(sign_in={**SIGN_IN, "account": "ada"}), invited()):
        read = Read(rendered(facts))
        assert read.elements.count("form") == read.attributes.count(("value", KEY))


def luminance(colour: str) -> float:
    """WCAG 2.2's relative luminance."""
    digits = colour if len(colour) == 6 else "".join(digit * 2 for digit in colour)
    parts = (int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4))
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


THEMES = dict(zip(("light", "dark"), re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL), strict=True))


@pytest.mark.parametrize("ink", ["ink", "quiet", "good", "bad", "waiting", "link"])
@pytest.mark.parametrize("ground", ["ground", "panel", "raised"])
@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_words_stand_out(theme: str, ground: str, ink: str) -> None:
    colours = dict(re.findall(r"--(\w+): #(\w+);", theme))
    light, dark = sorted((luminance(colours[name]) for name in (ground, ink)), reverse=True)

    assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2.2 level AA, 1.4.3


@pytest.fixture
async def tool() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


async def test_page_is_served_with_its_style(tool: ClientSession) -> None:
    async with Sandbox(patients=1) as sandbox, operated_before(sandbox) as running:
        async with tool.get(f"{running.url}/") as answer:
            assert "text/html; charset=utf-8" == answer.headers["Content-Type"]
            read = Read(await answer.text())
        async with tool.get(f"{running.url}/style.css") as answer:
            assert ("text/css; charset=utf-8", STYLE) == (answer.headers["Content-Type"], await answer.text())

    assert "✓ Ready" in read.words
    assert SERVICE.client_id in read.words
    assert running.proxy.url in read.words


async def test_page_of_what_cannot_work_is_a_page(tool: ClientSession) -> None:
    async with operated("http://127.0.0.1:9") as running, tool.get(f"{running.url}/") as answer:
        assert 200 == answer.status
        assert "✗ Not ready" in Read(await answer.text()).words


CODE = {snippet.tool: snippet for snippet in SNIPPETS}


@pytest.mark.parametrize("snippet", CODE.values(), ids=CODE)
def test_snippet_names_the_local_address(snippet: Snippet) -> None:
    code = snippet.code("http://localhost:1/r4")

    assert 1 == code.count("http://localhost:1/r4")
    assert URL_PLACE not in code


async def output(*words: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(60):
        text, _ = await process.communicate()
    return process.returncode, text.decode()


async def test_python_snippet_reads_patients() -> None:
    async with Sandbox(patients=3, is_open=True) as sandbox, proxy_before(sandbox.fhir.base_url) as proxy:
        status, text = await output(sys.executable, "-c", CODE["Python"].code(proxy.url))

    assert (0, 3) == (status, len(text.splitlines())), text


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
async def test_curl_snippet_reads_patients() -> None:
    async with Sandbox(patients=3, is_open=True) as sandbox, proxy_before(sandbox.fhir.base_url) as proxy:
        status, text = await output(*shlex.split(CODE["curl"].code(proxy.url)))

    assert (0, True) == (status, '"resourceType":"Bundle"' in text.replace(" ", "")), text
