from __future__ import annotations

import asyncio
import re

import pytest

from proxy.auth import Seams, authenticator
from proxy.errors import AuthenticationFailed, ConfigError, SignInRequired
from proxy.sandbox.tenant import DESKTOP, MEMBER, Client, Endpoint, Garbage, HttpError, Refusal, Tenant

from ..fakes.browser import ScriptedBrowser
from ..fakes.clock import FakeClock
from .conftest import BASE_URL, Settings, token_of, until

HOUR = 3600.0


@pytest.fixture
def settings(person_settings: Settings) -> Settings:
    return lambda **changes: person_settings(**{"auth": "device-code", "sign_in_timeout": 3600, **changes})


class Person:
    """Reads the line at the terminal, goes to the page and types the code."""

    def __init__(self, browser: ScriptedBrowser, lines: list[str]) -> None:
        self.browser = browser
        self.lines = lines

    async def signs_in(self) -> str:
        await until(lambda: self.lines)
        found = re.search(r"Sign in at (\S+) with the code (\S+)", self.lines[-1])
        assert found is not None
        self.browser.user_code = found[2]
        return (await self.browser.visit(found[1])).name


@pytest.fixture
async def person(browser: ScriptedBrowser, lines: list[str]) -> Person:
    return Person(browser, lines)


def polls(tenant: Tenant) -> int:
    return sum("device_code" in request.grant_type for request in tenant.token_requests)


async def test_person_signs_in_with_the_code(
    tenant: Tenant, settings: Settings, seams: Seams, person: Person, clock: FakeClock, lines: list[str]
) -> None:
    signing = authenticator(settings(), seams)
    waiter = asyncio.create_task(token_of(signing))
    page = await person.signs_in()
    await clock.slept(5)
    clock.advance(5)
    claims = tenant.verify(await waiter, BASE_URL)
    await signing.close()

    assert page == "device-signed-in"
    assert (claims.upn, claims.scp) == (MEMBER.username, ("user_impersonation",))
    assert lines[-1] == f"{BASE_URL}: signed in as {MEMBER.username} in tenant {tenant.tenant_id}"


async def test_polls_come_one_interval_after_the_other(
    tenant: Tenant, settings: Settings, seams: Seams, person: Person, clock: FakeClock
) -> None:
    signing = authenticator(settings(sign_in_wait=600), seams)
    waiter = asyncio.create_task(token_of(signing))
    counts = []
    for _ in range(4):
        await clock.slept(5)
        counts.append(polls(tenant))
        clock.advance(5)
    await person.signs_in()
    await clock.slept(5)
    clock.advance(5)
    await waiter
    await signing.close()

    assert counts == [0, 1, 2, 3]


async def test_tenant_that_wants_slower_polls_gets_them(
    tenant: Tenant, settings: Settings, seams: Seams, person: Person, clock: FakeClock
) -> None:
    tenant.faults.next(HttpError(400, body='{"error":"slow_down"}', content_type="application/json"))
    signing = authenticator(settings(), seams)
    waiter = asyncio.create_task(token_of(signing))
    await person.signs_in()
    await clock.slept(5)
    clock.advance(5)
    await clock.slept(10)
    clock.advance(10)

    assert await waiter
    await signing.close()


@pytest.mark.parametrize("fault", [HttpError(503), Garbage()], ids=str)
async def test_outage_between_two_polls_does_not_end_the_sign_in(
    tenant: Tenant, settings: Settings, seams: Seams, person: Person, clock: FakeClock, fault: HttpError
) -> None:
    tenant.faults.next(fault)
    signing = authenticator(settings(), seams)
    waiter = asyncio.create_task(token_of(signing))
    await person.signs_in()
    await clock.slept(5)
    clock.advance(5)
    await clock.slept(10)
    clock.advance(10)

    assert await waiter
    await signing.close()


async def test_token_is_renewed_without_the_person(
    tenant: Tenant, settings: Settings, seams: Seams, person: Person, clock: FakeClock
) -> None:
    signing = authenticator(settings(), seams)
    waiter = asyncio.create_task(token_of(signing))
    await person.signs_in()
    await clock.slept(5)
    clock.advance(5)
    first = await waiter
    clock.advance(2 * HOUR)
    second = await token_of(signing)
    await signing.close()

    assert second != first
    assert tenant.token_requests[-1].grant_type == "refresh_token"


async def test_request_is_told_the_code_when_it_waits_no_longer(
    settings: Settings, seams: Seams, clock: FakeClock, lines: list[str]
) -> None:
    signing = authenticator(settings(), seams)
    waiter = asyncio.create_task(token_of(signing))
    await until(lambda: lines)
    clock.advance(20)
    with pytest.raises(SignInRequired) as raised:
        await waiter
    await signing.close()

    assert "/devicelogin with the code" in raised.value.hint


async def test_code_that_nobody_types_expires(
    tenant: Tenant, settings: Settings, seams: Seams, clock: FakeClock, lines: list[str]
) -> None:
    tenant.lifetimes.device_code = 8
    signing = authenticator(settings(), seams)
    waiter = asyncio.create_task(token_of(signing))
    for _ in range(2):
        await clock.slept(5)
        clock.advance(5)
    with pytest.raises(SignInRequired, match="expired"):
        await waiter
    clock.advance(5)
    again = asyncio.create_task(token_of(signing))
    await until(lambda: len(lines) == 2)
    again.cancel()
    await signing.close()

    assert lines[0] != lines[1]


async def test_person_who_cancels_is_believed(
    settings: Settings, seams: Seams, person: Person, browser: ScriptedBrowser, clock: FakeClock
) -> None:
    browser.choice = "cancel"
    signing = authenticator(settings(), seams)
    waiter = asyncio.create_task(token_of(signing))
    await person.signs_in()
    await clock.slept(5)
    clock.advance(5)
    with pytest.raises(SignInRequired):
        await waiter
    await signing.close()


async def test_app_that_is_not_public_is_explained(tenant: Tenant, settings: Settings, seams: Seams) -> None:
    tenant.register(Client(DESKTOP.client_id, DESKTOP.home))
    signing = authenticator(settings(), seams)
    with pytest.raises(AuthenticationFailed, match="7000218"):
        await token_of(signing)
    await signing.close()


async def test_refusal_of_the_code_itself_is_explained(
    tenant: Tenant, settings: Settings, seams: Seams
) -> None:
    tenant.faults.next(Refusal(500011, BASE_URL), endpoint=Endpoint.DEVICE_CODE)
    signing = authenticator(settings(), seams)
    with pytest.raises(AuthenticationFailed, match="500011"):
        await token_of(signing)
    await signing.close()


async def test_missing_client_id_is_named(settings: Settings, seams: Seams) -> None:
    with pytest.raises(ConfigError, match=r"client_id \(--client-id"):
        authenticator(settings(client_id=""), seams)


async def test_stop_ends_the_polling(
    settings: Settings, seams: Seams, clock: FakeClock, lines: list[str]
) -> None:
    signing = authenticator(settings(), seams)
    waiter = asyncio.create_task(token_of(signing))
    await until(lambda: lines)
    await signing.close()
    outcome = await asyncio.gather(waiter, return_exceptions=True)

    assert "stopping" in str(outcome[0])
