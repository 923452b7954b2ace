"""Threat model B11: nobody but a person or program of this machine reads the admin listener or acts by it, on raw
sockets; what the server and the tenant say is text there, never markup."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession

from proxy.sandbox import Sandbox
from proxy.sandbox.tenant.faults import HttpError

from ..admin.running import Operated, operated, operated_before
from ..fakes.byte_server import answering, byte_server
from . import messages
from .messages import Answer

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'"
READ = ("/", "/parts", "/api/status", "/api/servers/1/sign-in", "/metrics", "/page.js", "/nothing")
ACT = (
    "/quitquitquit",
    "/reload",
    "/api/servers/1/sign-in",
    "/api/servers/1/sign-in/cancel",
    "/api/servers/1/sign-out",
)
KEY = b'name="key" value="'


async def ask(running: Operated, *lines: bytes, body: bytes = b"") -> list[Answer]:
    """What comes back for a head and a body, as they are, until the listener ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    head = b"\r\n".join(lines).replace(b"%h", b"127.0.0.1:%d" % running.port)
    try:
        async with asyncio.timeout(20):
            writer.write(head + b"\r\nConnection: close\r\n\r\n" + body)
            # aiohttp answers what it cannot parse by its least version.
            return messages.answers((await reader.read()).replace(b"HTTP/1.0 400 ", b"HTTP/1.1 400 "))
    finally:
        writer.transport.abort()


@asynccontextmanager
async def standing() -> AsyncIterator[Operated]:
    """A listener that nobody stops, and that answers a program of this machine in the end."""
    async with operated("http://127.0.0.1:9") as running:
        yield running
        [answer] = await ask(running, b"GET /healthz HTTP/1.1", b"Host: %h")
        assert (200, False) == (answer.status, running.stopped.is_set())


STRANGERS = [
    ("a name that leads here", [b"Host: evil.example"], 421),
    ("a name that begins like ours", [b"Host: 127.0.0.1.evil.example"], 421),
    ("0.0.0.0", [b"Host: 0.0.0.0:80"], 421),
    ("our name at another port", [b"Host: 127.0.0.1:1"], 421),
    ("no host", [b"X: y"], 400),
    ("two hosts", [b"Host: %h", b"Host: evil.example"], 400),
    ("a forwarded host", [b"Host: evil.example", b"X-Forwarded-Host: %h"], 421),
    ("another site", [b"Host: %h", b"Origin: https://evil.example"], 403),
    ("another local port", [b"Host: %h", b"Origin: http://127.0.0.1:3000"], 403),
    ("a lookalike", [b"Host: %h", b"Origin: http://%h.evil.example"], 403),
    ("an opaque origin", [b"Host: %h", b"Origin: null"], 403),
    ("two origins", [b"Host: %h", b"Origin: http://%h", b"Origin: http://evil.example"], 403),
    ("a script of another site", [b"Host: %h", b"Sec-Fetch-Site: cross-site"], 403),
    ("a script of another port", [b"Host: %h", b"Sec-Fetch-Site: same-site"], 403),
    ("both framings", [b"Host: %h", b"Content-Length: 3", b"Transfer-Encoding: chunked"], 400),
    ("two lengths", [b"Host: %h", b"Content-Length: 0", b"Content-Length: 3"], 400),
    ("a coding that is none", [b"Host: %h", b"Transfer-Encoding: xchunked"], 400),
]
IDS = [name for name, _, _ in STRANGERS]


@pytest.mark.parametrize(("lines", "status"), [row[1:] for row in STRANGERS], ids=IDS)
async def test_strangers_read_nothing(lines: list[bytes], status: int) -> None:
    async with standing() as running:
        for path in READ:
            answers = await ask(running, f"GET {path} HTTP/1.1".encode(), *lines)

            assert [status] == [answer.status for answer in answers][:1], path
            assert 1 == len(answers)
            assert KEY not in answers[0].body


@pytest.mark.parametrize(("lines", "status"), [row[1:] for row in STRANGERS], ids=IDS)
async def test_strangers_do_nothing(lines: list[bytes], status: int) -> None:
    async with standing() as running:
        for path in ACT:
            answers = await ask(running, f"POST {path} HTTP/1.1".encode(), *lines)

            assert [status] == [answer.status for answer in answers][:1], path
            assert 1 == len(answers)


@pytest.mark.parametrize("path", ACT[2:])
@pytest.mark.parametrize("body", [b"", b"key=", b"key=guessed", b'{"key":"guessed"}'])
@pytest.mark.parametrize(
    "media_type", [b"application/x-www-form-urlencoded", b"text/plain", b"application/json"]
)
async def test_form_without_the_key_does_nothing(path: str, body: bytes, media_type: bytes) -> None:
    lines = [b"Host: %h", b"Content-Type: " + media_type, b"Content-Length: %d" % len(body)]
    async with standing() as running:
        [answer] = await ask(running, f"POST {path} HTTP/1.1".encode(), *lines, body=body)

        assert answer.status in {400, 403, 415}


@pytest.mark.parametrize("path", ["/", "/parts", "/api/status"])
async def test_no_page_may_hold_or_read_it(path: str) -> None:
    async with standing() as running:
        [answer] = await ask(running, f"GET {path} HTTP/1.1".encode(), b"Host: %h")

        policy = answer.field("Content-Security-Policy") or ""
        assert "frame-ancestors 'none'" in policy
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "nosniff" == answer.field("X-Content-Type-Options")
        assert "same-origin" == answer.field("Cross-Origin-Resource-Policy")
        assert not any(name.startswith(b"access-control-") for name, _ in answer.fields.lines)


async def assert_text_only(running: Operated) -> None:
    """What others have said is nowhere markup, and is told to programs as JSON that no browser renders."""
    async with ClientSession() as tool:
        async with tool.get(running.url) as answer:
            page = await answer.text()
        assert "<script>alert" not in page
        assert "<img" not in page
        async with tool.get(f"{running.url}/parts") as answer:
            parts = (await answer.json())["parts"]
        assert not re.search("<script|<img", "".join(parts.values()))
        async with tool.get(f"{running.url}/api/status") as answer:
            assert ("application/json", "nosniff") == (
                answer.content_type,
                answer.headers["X-Content-Type-Options"],
            )
            json.loads(await answer.text())


ANSWERS = [
    b"HTTP/1.1 500 %b\r\nContent-Length: 0\r\n\r\n",
    b'HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer error="x", error_description="%b"\r\nContent-Length: 0\r\n\r\n',
    b"HTTP/1.1 403 No\r\nContent-Type: text/html\r\nContent-Length: %l\r\n\r\n%b",
    b"<%b>\r\n\r\n",
]


@pytest.mark.parametrize("answer", ANSWERS, ids=["a reason", "a challenge", "a page", "no HTTP"])
async def test_what_a_server_says_is_text(answer: bytes) -> None:
    evil = EVIL.replace('"', "").encode()
    said = answer.replace(b"%b", evil).replace(b"%l", b"%d" % len(evil))
    async with byte_server(answering(said, said, said)) as server, ClientSession() as tool:
        async with operated(f"http://127.0.0.1:{server.port}") as running:
            async with tool.get(f"{running.proxy.url}/Patient") as response:
                await response.read()

            await assert_text_only(running)


async def test_what_a_tenant_says_is_text() -> None:
    said = json.dumps({"error": "invalid_client", "error_description": f"AADSTS7000215: {EVIL}"})
    async with Sandbox(patients=1) as sandbox, ClientSession() as tool:
        sandbox.tenant.faults.always(HttpError(401, body=said, content_type="application/json"))
        async with operated_before(sandbox) as running:
            async with tool.get(f"{running.proxy.url}/Patient") as response:
                assert response.status >= 500
            async with tool.get(f"{running.url}/api/status") as answer:
                assert "AADSTS7000215" in await answer.text()

            await assert_text_only(running)
