"""Who gets in, from the tool to the server: what reaches the server is recorded byte by byte.

The tenant here answers as login.microsoftonline.com, behind a corporate proxy that leads there, so that the
server's challenge is judged and followed as in the field.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import jwt
import pytest
from aiohttp import ClientSession, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult

from proxy.sandbox.fhir import FhirServer
from proxy.sandbox.tenant import (
    CLINIC,
    DESKTOP,
    GUEST,
    MEMBER,
    PARTNER,
    PERSONAL_USER,
    SECRET,
    SERVICE,
    InvalidToken,
    Resource,
    Tenant,
    User,
)
from proxy.sandbox.tenant.registry import PERSONAL_ACCOUNTS

from .fakes.browser import ScriptedBrowser
from .fakes.byte_server import Peer, byte_server
from .fakes.connect_proxy import carried
from .fakes.fault_link import FaultLink, fault_link
from .running import proxy_before, unattended

MICROSOFT = "login.microsoftonline.com"


class Here(AbstractResolver):
    """Every name is this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)
        ]

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class World:
    """A tenant, a server that takes its tokens, what reached that, and a person at a browser."""

    tenant: Tenant
    fhir: FhirServer
    resource: Resource
    link: FaultLink
    browser: ScriptedBrowser
    lines: list[str]
    ca_bundle: str

    @property
    def sent(self) -> bytes:
        """Every byte that reached the server, in lower case."""
        return bytes(self.link.sent_up).lower()

    async def status_for(self, user: User, **settings: object) -> tuple[int, str]:
        """What a tool gets from a read while that person signs in."""
        self.browser.username = user.username
        seams = replace(unattended(self.lines), browser=self.browser, attended=True)
        given = {
            "auth": "interactive",
            "client_id": DESKTOP.client_id,
            "ca_bundle": self.ca_bundle,
            "token_cache": "none",
            "audience": self.fhir.base_url,
            "sign_in_timeout": 30,
        }
        base_url = f"http://127.0.0.1:{self.link.port}"
        async with proxy_before(base_url, seams, **{**given, **settings}) as proxy:
            async with ClientSession() as tool, tool.get(f"{proxy.url}/Patient?_summary=count") as answer:
                return answer.status, await answer.text()


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        tenant = await stack.enter_async_context(Tenant(hostname=MICROSOFT))
        port = int(tenant.origin.rpartition(":")[2])

        async def corporate_proxy(peer: Peer) -> None:
            assert (await peer.head()).startswith(f"CONNECT {MICROSOFT}:".encode())
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
            back = asyncio.create_task(carried(reader, peer.writer))
            try:
                await carried(peer.reader, writer)
            finally:
                writer.transport.abort()
                back.cancel()
                await asyncio.wait({back})
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()

        corporate = await stack.enter_async_context(byte_server(corporate_proxy))
        for variable in ("https_proxy", "no_proxy", "NO_PROXY"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{corporate.port}")
        fhir = FhirServer(tenant.verify, refusals=(InvalidToken,), patients=3)
        await fhir.start()
        stack.push_async_callback(fhir.close)
        resource = Resource(
            fhir.base_url,
            preauthorized=frozenset({DESKTOP.client_id}),
            app_roles={SERVICE.client_id: ("globalAdmin",)},
        )
        tenant.register(resource)
        link = await stack.enter_async_context(fault_link(int(fhir.base_url.rpartition(":")[2])))
        file = tmp_path / "ca.pem"
        file.write_bytes(tenant.ca_pem)
        browser = ScriptedBrowser(tenant.ca_pem)
        context = browser._session.connector._ssl  # type: ignore[union-attr]
        await browser._session.close()
        browser._session = ClientSession(connector=TCPConnector(resolver=Here(), ssl=context))
        yield World(tenant, fhir, resource, link, browser, [], str(file))
        await browser.close()
        await corporate.until_closed()
        await link.until_closed()


ORGANIZATIONS = "organizations"
COMMON = {"authority": f"https://{MICROSOFT}/common"}
POLICY = {"require_organizational_account": True}
AUTHORIZATION = b"\r\nauthorization:"

GETS_IN = [
    # who, the tenant that the challenge names, settings
    pytest.param(MEMBER, ORGANIZATIONS, {}, id="a member, where nobody names a tenant"),
    pytest.param(MEMBER, CLINIC.id, POLICY, id="a member, by the policy of an online service"),
    pytest.param(GUEST, CLINIC.id, {}, id="a guest, where the challenge names the tenant"),
    pytest.param(GUEST, ORGANIZATIONS, {"tenant": CLINIC.id}, id="a guest, where the settings name the tenant"),
    pytest.param(GUEST, CLINIC.id, {"auth": "auto"}, id="a guest, by auto"),
]  # fmt: skip


@pytest.mark.parametrize(("user", "named", "settings"), GETS_IN)
async def test_gets_in(world: World, user: User, named: str, settings: dict[str, object]) -> None:
    world.fhir.access.authority = f"https://{MICROSOFT}/{named}"
    status, _ = await world.status_for(user, **settings)

    assert status == 200
    assert AUTHORIZATION in world.sent
    assert f"signed in as {user.username} in tenant {CLINIC.id}" in world.lines[-1]


STAYS_OUT = [
    # who, the tenant that the challenge names, settings, what the tool or the browser is told
    pytest.param(PERSONAL_USER, ORGANIZATIONS, {}, "AADSTS500200", id="a personal account, at organizations"),
    pytest.param(PERSONAL_USER, ORGANIZATIONS, COMMON, "is a personal account", id="a personal account, at common"),
    pytest.param(PERSONAL_USER, CLINIC.id, {}, "AADSTS50020", id="a personal account that is no guest"),
    pytest.param(GUEST, CLINIC.id, POLICY, f"a guest from {PARTNER.id}", id="a guest, by the policy"),
    pytest.param(MEMBER, CLINIC.id, {"expect_tenant": PARTNER.id}, "expect_tenant", id="another tenant"),
    pytest.param(GUEST, ORGANIZATIONS, {"expect_tenant": CLINIC.id}, "expect_tenant", id="a guest whose tenant nobody names"),
    pytest.param(GUEST, CLINIC.id, {"account": MEMBER.username}, "the account to use", id="another account"),
]  # fmt: skip


@pytest.mark.parametrize(("user", "named", "settings", "words"), STAYS_OUT)
async def test_stays_out_and_nothing_reaches_the_server_with_a_token(
    world: World, user: User, named: str, settings: dict[str, object], words: str
) -> None:
    world.fhir.access.authority = f"https://{MICROSOFT}/{named}"
    # Entra ID has no tokens of version 1 for whoever comes by way of `common` (AADSTS90124).
    world.tenant.register(replace(world.resource, token_version=2))
    status, told = await world.status_for(user, sign_in_wait=0.3, **settings)
    page = await world.browser.pages.get()

    assert status == 503
    assert words in told + page.text + page.code
    assert AUTHORIZATION not in world.sent


async def test_guest_whose_tenant_nobody_names_is_told_to_name_it(world: World) -> None:
    """Nobody but the server knows that the token of their own organization is not of the server's."""
    world.fhir.access.authority = f"https://{MICROSOFT}/{ORGANIZATIONS}"
    status, told = await world.status_for(GUEST)
    sent = re.findall(rb"\r\nauthorization: bearer (\S+)", bytes(world.link.sent_up), re.IGNORECASE)
    tenants = {jwt.decode(one, options={"verify_signature": False})["tid"] for one in sent}

    assert status == 502
    assert tenants == {PARTNER.id}
    assert "--tenant" in told
    assert "has to be a guest there" in told


async def test_challenge_is_asked_for_before_anybody_signs_in(world: World) -> None:
    world.fhir.access.authority = f"https://{MICROSOFT}/{CLINIC.id}"
    await world.status_for(MEMBER)
    first = world.sent.partition(b"\r\n\r\n")[0]

    assert AUTHORIZATION not in first


def token(**claims: object) -> str:
    """A token that nobody verifies before it is sent."""
    return jwt.encode({"tid": CLINIC.id, "scp": "user_impersonation", **claims}, "k" * 32)


TOKENS = [
    pytest.param(token(upn="ada@clinic.example"), True, id="a member"),
    pytest.param(token(appid=SERVICE.client_id, scp=None, idtyp="app"), True, id="an app"),
    pytest.param(token(upn="g", idp=f"https://sts.windows.net/{PARTNER.id}/"), False, id="a guest"),
    pytest.param(token(upn="g#EXT#@clinic.example"), False, id="a guest by name"),
    pytest.param(token(upn="j", idp="live.com"), False, id="a personal account as a guest"),
    pytest.param(token(upn="j", tid=PERSONAL_ACCOUNTS), False, id="a personal account"),
    pytest.param("opaque", False, id="an opaque token"),
]


@pytest.mark.parametrize("method", ["token", "command"])
@pytest.mark.parametrize(("value", "is_sent"), TOKENS)
async def test_policy_holds_for_tokens_from_elsewhere(
    world: World, tmp_path: Path, method: str, value: str, is_sent: bool
) -> None:
    file = tmp_path / "token"
    file.write_text(value)
    given = {
        "token": {"token_file": str(file)},
        "command": {"command": [sys.executable, "-c", f"print({value!r})"]},
    }[method]
    status, told = await world.status_for(MEMBER, **POLICY, auth=method, **given)

    assert status == 502  # the server takes none of them, the policy some
    assert ("require_organizational_account" in told) is not is_sent
    assert (AUTHORIZATION in world.sent) is is_sent


async def test_policy_lets_an_app_of_the_organization_in(world: World) -> None:
    app = {"client_id": SERVICE.client_id, "client_secret": SECRET, "tenant": CLINIC.id}
    status, _ = await world.status_for(MEMBER, **POLICY, auth="client-secret", **app)

    assert status == 200


async def test_policy_takes_no_open_server(world: World) -> None:
    status, told = await world.status_for(MEMBER, **POLICY, auth="anonymous")

    assert (status, world.sent) == (502, b"")
    assert "answers without sign-in" in told
