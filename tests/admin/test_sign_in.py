from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from aiohttp import ClientSession

from proxy.admin.sign_in import KEY_FIELD, KEY_NAME
from proxy.sandbox import Sandbox
from proxy.sandbox.tenant import DESKTOP, MEMBER, OTHER_MEMBER, Endpoint, Refusal

from ..fakes.browser import ScriptedBrowser
from ..running import unattended
from .running import Operated, operated, operated_before

PLACE = "/api/servers/1/sign-in"
OUT = "/api/servers/1/sign-out"
ACTIONS = (PLACE, f"{PLACE}/cancel", OUT)

Json = dict[str, object]


@dataclass
class Page:
    """What a page of the admin listener can do, and the person before it."""

    running: Operated
    sandbox: Sandbox
    person: ScriptedBrowser
    tool: ClientSession
    key: str = ""

    async def state(self) -> Json:
        async with self.tool.get(self.running.url + PLACE) as answer:
            state = await answer.json()
            self.key = state.pop(KEY_NAME)
            return state

    async def act(self, path: str, **values: object) -> tuple[int, Json]:
        await self.state()
        async with self.tool.post(
            self.running.url + path, json=values, headers={KEY_FIELD: self.key, "Origin": self.running.url}
        ) as answer:
            return answer.status, await answer.json()

    async def patients(self) -> int:
        async with self.tool.get(f"{self.running.proxy.url}/Patient") as answer:
            return answer.status

    async def signed_in(self) -> str:
        """The account once the sign-in that is open has ended."""
        await self.patients()
        return str((await self.state())["account"])


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(patients=1) as running:
        yield running


async def opened(stack: AsyncExitStack, sandbox: Sandbox, **settings: object) -> Page:
    tool = await stack.enter_async_context(ClientSession())
    person = ScriptedBrowser(sandbox.tenant.ca_pem)
    person.starts = False
    stack.push_async_callback(person.close)
    personal = {
        "auth": "interactive",
        "client_id": DESKTOP.client_id,
        "client_secret": None,
        "token_cache": "none",
        **settings,
    }
    seams = replace(unattended(), browser=person)
    running = await stack.enter_async_context(operated_before(sandbox, seams, **personal))
    return Page(running, sandbox, person, tool)


@pytest.fixture
async def page(sandbox: Sandbox) -> AsyncIterator[Page]:
    async with AsyncExitStack() as stack:
        yield await opened(stack, sandbox)


def invitation(state: Mapping[str, object]) -> Mapping[str, str]:
    found = state["invitation"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("auth", ["interactive", "device-code", "auto"])
@pytest.mark.parametrize("method", ["interactive", "device-code"])
async def test_person_signs_in_by_any_way_whatever_the_method(
    sandbox: Sandbox, auth: str, method: str
) -> None:
    sandbox.tenant.lifetimes.device_interval = 0.01
    async with AsyncExitStack() as stack:
        page = await opened(stack, sandbox, auth=auth)
        before = await page.state()
        assert f"sign in at {page.running.url}/#server-1" in await page.running.proxy.watch.unready()
        status, state = await page.act(PLACE, method=method)
        asked = invitation(state)
        page.person.user_code = asked["code"]
        await page.person.visit(asked["address"])

        assert (["interactive", "device-code"], "") == (before["methods"], before["account"])
        assert (200, method, True) == (status, asked["method"], state["is_open"])
        assert MEMBER.username == await page.signed_in()
        after = await page.state()
        assert (False, None, sandbox.tenant.tenant_id) == (
            after["is_open"],
            after["invitation"],
            after["tenant"],
        )


async def test_request_that_needs_a_person_is_told_the_page_and_served_after_it(sandbox: Sandbox) -> None:
    async with AsyncExitStack() as stack:
        page = await opened(stack, sandbox, auth="auto", sign_in_wait=0.05)
        async with page.tool.get(f"{page.running.proxy.url}/Patient") as answer:
            issue = (await answer.json(content_type=None))["issue"][0]
        assert (503, "login") == (answer.status, issue["code"])
        assert f"{page.running.url}/#server-1" in issue["diagnostics"]
        assert page.person.opened == [f"{page.running.url}/#server-1"]

        _, state = await page.act(PLACE, method="interactive")
        await page.person.visit(invitation(state)["address"])
        assert MEMBER.username == await page.signed_in()
        assert 200 == await page.patients()


async def test_cancel_ends_it(page: Page) -> None:
    await page.act(PLACE, method="interactive")
    status, state = await page.act(f"{PLACE}/cancel")

    assert (200, False, None) == (status, state["is_open"], state["invitation"])


async def test_other_account_takes_over(page: Page) -> None:
    _, state = await page.act(PLACE)
    await page.person.visit(invitation(state)["address"])
    assert MEMBER.username == await page.signed_in()

    page.person._session.cookie_jar.clear()
    page.person.username = OTHER_MEMBER.username
    _, state = await page.act(PLACE, other_account=True)
    assert (MEMBER.username, True) == (state["account"], state["is_open"])
    await page.person.visit(invitation(state)["address"])
    while (await page.state())["is_open"]:
        pass
    assert OTHER_MEMBER.username == await page.signed_in()


async def test_signed_out_is_nobody(page: Page) -> None:
    _, state = await page.act(PLACE)
    await page.person.visit(invitation(state)["address"])
    await page.signed_in()
    status, state = await page.act(OUT)

    assert (200, "", None) == (status, state["account"], state["token_valid_until"])
    assert not page.running.proxy.watch.is_signed_in


@pytest.fixture
def keeping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Settings with which a sign-in outlives the process."""
    for name in ("HOME", "XDG_STATE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "state"))
    return {"token_cache": "file"}


async def resumed(stack: AsyncExitStack, sandbox: Sandbox, **settings: object) -> Page:
    """A proxy that has started and has looked for whoever is kept."""
    page = await opened(stack, sandbox, **settings)
    resuming = page.running.proxy._resuming
    assert resuming is not None
    await resuming
    return page


async def sign_in_once(stack: AsyncExitStack, sandbox: Sandbox, **settings: object) -> None:
    """A person signs in, which a later start finds."""
    page = await opened(stack, sandbox, **settings)
    _, state = await page.act(PLACE)
    await page.person.visit(invitation(state)["address"])
    assert await page.signed_in() == MEMBER.username


@pytest.mark.parametrize("auth", ["interactive", "device-code", "auto"])
async def test_whoever_is_kept_is_signed_in_at_the_start(
    sandbox: Sandbox, keeping: dict[str, object], auth: str
) -> None:
    async with AsyncExitStack() as stack:
        await sign_in_once(stack, sandbox, **keeping)
        page = await resumed(stack, sandbox, auth=auth, **keeping)
        state = await page.state()
        grants = [request.grant_type for request in sandbox.tenant.token_requests]

        assert (state["account"], state["invitation"]) == (MEMBER.username, None)
        assert grants == ["authorization_code", "refresh_token"]
        assert await page.patients() == 200
        assert len(sandbox.tenant.token_requests) == len(grants)  # the tool's request needed none


async def test_dead_sign_in_that_is_kept_calls_nobody_at_the_start(
    sandbox: Sandbox, keeping: dict[str, object]
) -> None:
    async with AsyncExitStack() as stack:
        await sign_in_once(stack, sandbox, **keeping)
        sandbox.tenant.revoke(MEMBER.username)
        page = await resumed(stack, sandbox, **keeping)
        state = await page.state()

        assert (state["account"], state["is_open"], page.person.opened) == ("", False, [])
        assert page.running.proxy.watch.problem is None
        _, state = await page.act(PLACE)
        await page.person.visit(invitation(state)["address"])
        assert await page.signed_in() == MEMBER.username


async def test_why_whoever_is_kept_is_not_signed_in_stands_in_the_status(
    sandbox: Sandbox, keeping: dict[str, object]
) -> None:
    async with AsyncExitStack() as stack:
        await sign_in_once(stack, sandbox, **keeping)
        sandbox.tenant.faults.always(Refusal(500011))
        page = await resumed(stack, sandbox, **keeping)
        problem = page.running.proxy.watch.problem

        assert problem is not None
        assert "AADSTS500011" in problem.message


async def test_without_anybody_kept_nothing_is_asked_at_the_start(
    sandbox: Sandbox, keeping: dict[str, object]
) -> None:
    async with AsyncExitStack() as stack:
        page = await resumed(stack, sandbox, auth="auto", **keeping)

        assert sandbox.tenant.token_requests == ()
        assert page.running.proxy.upstream_connections == 0


async def test_what_went_wrong_is_answered_and_stands_in_the_status(page: Page) -> None:
    page.sandbox.tenant.faults.always(Refusal(7000218), endpoint=Endpoint.DEVICE_CODE)
    status, body = await page.act(PLACE, method="device-code")
    async with page.tool.get(f"{page.running.url}/api/status") as answer:
        (server,) = (await answer.json())["servers"]

    error = body["error"]
    assert isinstance(error, dict)
    assert (502, True) == (status, "7000218" in error["message"])
    assert error["message"] == server["last_problem"]["message"]


async def test_problem_of_a_sign_in_is_gone_after_the_next(page: Page) -> None:
    page.person.choice = "cancel"
    _, state = await page.act(PLACE)
    await page.person.visit(invitation(state)["address"])
    while page.running.proxy.watch.problem is None:
        await page.state()
    assert "65004" in page.running.proxy.watch.problem.message

    page.person.choice = "sign-in"
    _, state = await page.act(PLACE)
    await page.person.visit(invitation(state)["address"])
    await page.signed_in()
    assert page.running.proxy.watch.problem is None


async def test_form_of_a_page_leads_back_to_it(page: Page) -> None:
    await page.state()
    form = {KEY_NAME: page.key, "method": "interactive"}
    async with page.tool.post(page.running.url + PLACE, data=form, allow_redirects=False) as answer:
        assert (303, "/#server-1") == (answer.status, answer.headers["Location"])

    assert invitation(await page.state())["method"] == "interactive"


# Fields, body, type -> status
REFUSED = [
    ("no key", {}, "{}", "application/json", 403),
    ("wrong key", {KEY_FIELD: "guess"}, "{}", "application/json", 403),
    ("a key that is not ASCII", {KEY_NAME: "é"}, json.dumps({KEY_NAME: "é"}), "application/json", 403),
    ("another site", {"Origin": "https://evil.example"}, "{}", "application/json", 403),
    ("a sandboxed frame", {"Origin": "null"}, "{}", "application/json", 403),
    ("another local port", {"Origin": "http://localhost:3000"}, "{}", "application/json", 403),
    ("a navigation of another site", {"Sec-Fetch-Site": "cross-site"}, "{}", "application/json", 403),
    ("rebinding", {"Host": "evil.example"}, "{}", "application/json", 421),
    ("simple type", {}, "{}", "text/plain", 415),
    ("no JSON", {}, "{", "application/json", 400),
    ("no object", {}, "[]", "application/json", 400),
    ("too long", {}, json.dumps({"a": "x" * 5000}), "application/json", 413),
]


@pytest.mark.parametrize("path", ACTIONS)
@pytest.mark.parametrize(
    ("fields", "body", "type_", "status"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
async def test_what_is_not_the_page_does_nothing(
    page: Page, path: str, fields: dict[str, str], body: str, type_: str, status: int
) -> None:
    headers = {name: value for name, value in fields.items() if value.isascii()}
    async with page.tool.post(
        page.running.url + path, data=body, headers={"Content-Type": type_, **headers}
    ) as answer:
        assert status == answer.status

    assert not (await page.state())["is_open"]
    assert not page.sandbox.tenant.requests


@pytest.mark.parametrize("path", ACTIONS[1:])
async def test_reading_does_nothing(page: Page, path: str) -> None:
    async with page.tool.get(page.running.url + path) as answer:
        assert 405 == answer.status


async def test_way_that_there_is_not_is_refused(page: Page) -> None:
    status, _ = await page.act(PLACE, method="client-secret")

    assert 400 == status


async def test_server_that_there_is_not(page: Page) -> None:
    async with page.tool.get(f"{page.running.url}/api/servers/2/sign-in") as answer:
        assert 404 == answer.status


async def test_server_without_people_says_so() -> None:
    async with operated("http://127.0.0.1:9") as running, ClientSession() as tool:
        async with tool.get(running.url + PLACE) as answer:
            state = await answer.json()
        async with tool.post(running.url + PLACE, json={}, headers={KEY_FIELD: state[KEY_NAME]}) as answer:
            error = (await answer.json())["error"]

    assert [] == state["methods"]
    assert "Nobody signs in" in error["message"]


async def test_stop_ends_an_open_sign_in(page: Page) -> None:
    await page.act(PLACE)
    await page.running.proxy.stop(1.0)

    assert not page.running.proxy.watch.sign_in_is_open
