"""A person's way through the authorization endpoint and its pages."""

from __future__ import annotations

import asyncio

import pytest
import requests

from proxy.sandbox.tenant import (
    CLINIC,
    GUEST,
    MEMBER,
    OTHER_MEMBER,
    PARTNER,
    PERSONAL_USER,
    STRANGER,
    Resource,
    Tenant,
    User,
)

from ..browser import Browser
from .calling import AUDIENCE, AUTHORIZE, REDEEM, REDIRECT, USER_SCOPE, ask, authorize
from .conftest import MovableClock

ASKING = "https://asking.example"
"""A resource for which users must consent."""


@pytest.mark.parametrize(
    ("changes", "segment", "number"),
    [
        ({"client_id": "unknown"}, CLINIC.id, 700016),
        ({"client_id": ""}, CLINIC.id, 900144),
        ({"redirect_uri": "https://evil.example"}, CLINIC.id, 50011),
        ({"redirect_uri": "http://localhost:1@evil.example"}, CLINIC.id, 50011),
        ({"redirect_uri": ""}, CLINIC.id, 900144),
        ({}, "unknown.example", 90002),
    ],
)
async def test_error_page_where_nobody_can_be_trusted_with_the_answer(
    tenant: Tenant, browser: Browser, changes: dict[str, str], segment: str, number: int
) -> None:
    page = await authorize(tenant, browser, segment=segment, **changes)

    assert (page.name, page.code, page.status, page.forms) == ("error", number, 400, [])


@pytest.mark.parametrize(
    ("changes", "error", "number"),
    [
        ({"response_type": "token"}, "unsupported_response_type", 70005),
        ({"response_mode": "fragment"}, "invalid_request", 70007),
        ({"code_challenge": ""}, "invalid_request", 9002325),
        ({"code_challenge_method": "plain"}, "invalid_request", 50149),
        ({"code_challenge_method": ""}, "invalid_request", 50149),
        ({"code_challenge": "short"}, "invalid_request", 501491),
        ({"prompt": "nonsense"}, "invalid_request", 9002313),
        ({"prompt": "none"}, "login_required", 50058),
        ({"scope": "https://typo.example/user_impersonation"}, "invalid_resource", 500011),
        ({"scope": "openid"}, "invalid_scope", 70011),
    ],
)
@pytest.mark.parametrize("mode", ["form_post", "query"])
async def test_errors_are_carried_to_the_application(
    tenant: Tenant, browser: Browser, changes: dict[str, str], error: str, number: int, mode: str
) -> None:
    page = await authorize(tenant, browser, **{"response_mode": mode, **changes})

    told = page.carried
    assert (told["error"], told["state"]) == (error, AUTHORIZE["state"])
    assert told["error_description"].startswith(f"AADSTS{number}: ")


async def test_version_1_resource_over_common(tenant: Tenant, browser: Browser) -> None:
    page = await authorize(tenant, browser, segment="common")

    assert page.carried["error_description"].startswith("AADSTS90124: ")


@pytest.mark.parametrize(
    ("user", "segment", "number"),
    [
        (MEMBER, CLINIC.id, None),
        (MEMBER, "organizations", None),
        (GUEST, CLINIC.id, None),
        (STRANGER, "organizations", None),
        (STRANGER, CLINIC.id, 50020),
        (PERSONAL_USER, CLINIC.id, 50020),
        (PERSONAL_USER, "organizations", 500200),
        (User(MEMBER.username, "wrong", CLINIC.id), CLINIC.id, 50126),
        (User("nobody@clinic.example", "x", CLINIC.id), CLINIC.id, 50034),
        (User("<script>@clinic.example", "x", CLINIC.id), CLINIC.id, 50034),
    ],
)
async def test_who_may_sign_in_where(
    tenant: Tenant, browser: Browser, user: User, segment: str, number: int | None
) -> None:
    page = await authorize(tenant, browser, segment=segment)

    after = await asyncio.to_thread(browser.sign_in, page, user)

    expected = ("form-post", 0) if number is None else ("sign-in", number)
    assert (after.name, after.code) == expected
    assert "<script>@" not in after.text


async def test_over_organizations_the_home_tenant_issues(
    tenant: Tenant, browser: Browser, session: requests.Session
) -> None:
    page = await authorize(tenant, browser, segment="organizations")
    code = (await asyncio.to_thread(browser.sign_in, page, GUEST)).carried["code"]

    answer = await ask(tenant, session, {**REDEEM, "code": code}, segment="organizations")

    assert tenant.verify(answer.json()["access_token"], AUDIENCE, PARTNER).tid == PARTNER.id


@pytest.mark.parametrize("mode", ["form_post", "query"])
async def test_state_and_client_info_come_back(tenant: Tenant, browser: Browser, mode: str) -> None:
    page = await authorize(tenant, browser, response_mode=mode)

    carried = (await asyncio.to_thread(browser.sign_in, page, MEMBER)).carried

    assert (carried["state"], set(carried)) == (
        AUTHORIZE["state"],
        {"code", "state", "client_info", "session_state"},
    )


async def test_second_attempt_after_a_wrong_account(tenant: Tenant, browser: Browser) -> None:
    wrong = await asyncio.to_thread(browser.sign_in, await authorize(tenant, browser), STRANGER)

    right = await asyncio.to_thread(browser.sign_in, wrong, MEMBER)

    assert (wrong.code, "code" in right.carried) == (50020, True)


async def test_cancelled_sign_in(tenant: Tenant, browser: Browser) -> None:
    page = await authorize(tenant, browser)

    told = (await asyncio.to_thread(lambda: browser.submit(page, choice="cancel"))).carried

    assert (told["error"], told["error_subcode"]) == ("access_denied", "cancel")


async def test_consent_refused(tenant: Tenant, browser: Browser) -> None:
    tenant.register(Resource(ASKING))
    page = await authorize(tenant, browser, scope=f"{ASKING}/user_impersonation")

    told = (await asyncio.to_thread(lambda: browser.sign_in(page, MEMBER, accept=False))).carried

    assert (told["error"], told["error_description"][:12]) == ("access_denied", "AADSTS65004:")


async def test_consent_is_asked_once(tenant: Tenant, browser: Browser) -> None:
    tenant.register(Resource(ASKING))
    query = {"scope": f"{ASKING}/user_impersonation"}
    page = await authorize(tenant, browser, **query)
    asked = await asyncio.to_thread(
        lambda: browser.submit(page, username=MEMBER.username, password=MEMBER.password)
    )
    accepted = await asyncio.to_thread(lambda: browser.submit(asked, choice="accept"))

    again = await authorize(tenant, browser, **query)
    tenant.withdraw_consents()
    withdrawn = await authorize(tenant, browser, **query)

    names = (asked.name, accepted.name, again.name, withdrawn.name)
    assert names == ("consent", "form-post", "form-post", "consent")


@pytest.mark.parametrize(
    ("resource", "number"),
    [
        (Resource(ASKING, admin_consent_required=True), 90094),
        (Resource(ASKING, directories=frozenset({PARTNER.id})), 500011),
    ],
)
async def test_resource_that_a_user_cannot_have(
    tenant: Tenant, browser: Browser, resource: Resource, number: int
) -> None:
    tenant.register(resource)
    page = await authorize(tenant, browser, segment="organizations", scope=f"{ASKING}/user_impersonation")

    told = (await asyncio.to_thread(browser.sign_in, page, MEMBER)).carried

    assert told["error_description"].startswith(f"AADSTS{number}: ")


async def test_user_who_is_not_assigned(tenant: Tenant, browser: Browser) -> None:
    tenant.register(Resource(ASKING, assignment_required=True))
    page = await authorize(tenant, browser, scope=f"{ASKING}/user_impersonation")

    after = await asyncio.to_thread(browser.sign_in, page, MEMBER)

    assert (after.name, after.code) == ("sign-in", 50105)


@pytest.mark.parametrize(
    ("prompt", "login_hint", "expected"),
    [
        ("", "", "form-post"),
        ("none", "", "form-post"),
        ("", MEMBER.username.upper(), "form-post"),
        ("", OTHER_MEMBER.username, "sign-in"),
        ("login", "", "sign-in"),
        ("select_account", "", "sign-in"),
        ("consent", "", "consent"),
    ],
)
async def test_browser_that_is_signed_in(
    tenant: Tenant, browser: Browser, prompt: str, login_hint: str, expected: str
) -> None:
    await asyncio.to_thread(browser.sign_in, await authorize(tenant, browser), MEMBER)

    page = await authorize(tenant, browser, prompt=prompt, login_hint=login_hint)

    assert page.name == expected


async def test_account_is_chosen_without_a_password(tenant: Tenant, browser: Browser) -> None:
    for user in (MEMBER, OTHER_MEMBER):
        page = await authorize(tenant, browser, prompt="select_account")
        await asyncio.to_thread(browser.sign_in, page, user)
    page = await authorize(tenant, browser)

    after = await asyncio.to_thread(lambda: browser.submit(page, form=0, account=OTHER_MEMBER.username))

    buttons = [("account", MEMBER.username), ("account", OTHER_MEMBER.username)]
    assert (page.forms[0].buttons, after.name) == (buttons, "form-post")


async def test_account_of_another_browser_cannot_be_chosen(tenant: Tenant, browser: Browser) -> None:
    page = await authorize(tenant, browser)

    after = await asyncio.to_thread(lambda: browser.submit(page, account=MEMBER.username, username="x"))

    assert (after.name, after.code) == ("sign-in", 50034)


async def test_revoked_user_signs_in_again(tenant: Tenant, browser: Browser) -> None:
    await asyncio.to_thread(browser.sign_in, await authorize(tenant, browser), MEMBER)

    tenant.revoke(MEMBER.username)

    assert (await authorize(tenant, browser)).name == "sign-in"


async def test_consent_without_sign_in_is_refused(tenant: Tenant, browser: Browser) -> None:
    page = await authorize(tenant, browser)
    page.forms[-1].action = "/consent"

    after = await asyncio.to_thread(lambda: browser.submit(page, choice="accept"))

    assert (after.name, after.code) == ("error", 9002313)


async def test_page_that_waited_too_long(tenant: Tenant, browser: Browser, clock: MovableClock) -> None:
    page = await authorize(tenant, browser)

    clock.now += 900
    after = await asyncio.to_thread(browser.sign_in, page, MEMBER)

    assert (after.name, after.code) == ("error", 9002313)


async def test_pages_can_post_to_nobody_else(tenant: Tenant, browser: Browser) -> None:
    page = await authorize(tenant, browser, login_hint='"><script>alert(1)</script>')
    after = await asyncio.to_thread(browser.sign_in, page, MEMBER)

    policies = [dict(_directives(one.headers["content-security-policy"])) for one in (page, after)]
    assert {policy["form-action"] for policy in policies} == {f"'self' {REDIRECT}"}
    assert {policy["default-src"] for policy in policies} == {"'none'"}
    assert "<script>alert" not in page.text
    assert ("", "") in after.forms[0].buttons  # the button for browsers without script


@pytest.mark.parametrize(("user_code", "number"), [("", 90119), ("BCDFGHJKL", 70018)])
async def test_wrong_device_code(tenant: Tenant, browser: Browser, user_code: str, number: int) -> None:
    page = await asyncio.to_thread(browser.enter_device_code, f"{tenant.origin}/devicelogin", user_code)

    assert (page.name, page.code) == ("device-code", number)


async def test_device_code_as_people_type_it(
    tenant: Tenant, browser: Browser, session: requests.Session
) -> None:
    form = {"client_id": AUTHORIZE["client_id"], "scope": USER_SCOPE}
    answer = (await ask(tenant, session, form, path="devicecode")).json()
    typed = f" {answer['user_code'][:4].lower()}-{answer['user_code'][4:]} "

    page = await asyncio.to_thread(browser.enter_device_code, answer["verification_uri"], typed)

    assert page.name == "sign-in"


def _directives(policy: str) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (part.strip().partition(" ") for part in policy.split(";"))]
