"""Every natural mistake at the token and device endpoints, told as Entra tells it."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest
import requests

from proxy.sandbox.tenant import (
    CLINIC,
    DESKTOP,
    DISABLED,
    MEMBER,
    PARTNER,
    PASSWORD,
    SECRET,
    SERVICE,
    Resource,
    Tenant,
    User,
)

from ..browser import Browser
from .calling import (
    APP_SCOPE,
    APPLICATION,
    AUDIENCE,
    AUTHORIZE,
    REDEEM,
    REDIRECT,
    USER_SCOPE,
    ask,
    authorize,
)
from .conftest import MovableClock

DEVICE = {"client_id": DESKTOP.client_id, "scope": f"openid {USER_SCOPE}"}
REFRESH = {"grant_type": "refresh_token", "client_id": DESKTOP.client_id}


async def code(tenant: Tenant, browser: Browser, user: User = MEMBER, **more: str) -> str:
    page = await authorize(tenant, browser, **more)
    return (await asyncio.to_thread(browser.sign_in, page, user)).carried["code"]


async def tokens(tenant: Tenant, session: requests.Session, browser: Browser) -> dict[str, str]:
    answer = await ask(tenant, session, {**REDEEM, "code": await code(tenant, browser)})
    return dict(answer.json())


@pytest.mark.parametrize(
    ("changes", "segment", "error", "number", "status"),
    [
        # the tenant
        ({}, "unknown.example", "invalid_request", 90002, 400),
        ({}, PARTNER.id, "unauthorized_client", 700016, 400),
        ({}, "organizations", "invalid_request", 50194, 400),
        # the application
        ({"client_id": "unknown"}, CLINIC.id, "unauthorized_client", 700016, 400),
        ({"client_id": ""}, CLINIC.id, "invalid_request", 900144, 400),
        ({"client_secret": "wrong"}, CLINIC.id, "invalid_client", 7000215, 401),
        ({"client_secret": ""}, CLINIC.id, "invalid_client", 7000216, 401),
        ({"client_id": DESKTOP.client_id}, CLINIC.id, "invalid_client", 700025, 401),
        ({"client_id": DESKTOP.client_id}, "organizations", "invalid_request", 50059, 400),
        # the grant
        ({"grant_type": ""}, CLINIC.id, "invalid_request", 900144, 400),
        ({"grant_type": "password"}, CLINIC.id, "unsupported_grant_type", 70003, 400),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, CLINIC.id, "invalid_grant", 70000, 400),
        ({"grant_type": "authorization_code", "code": "x"}, CLINIC.id, "invalid_grant", 70000, 400),
        # the scope
        ({"scope": ""}, CLINIC.id, "invalid_request", 900144, 400),
        ({"scope": "nonsense"}, CLINIC.id, "invalid_scope", 70011, 400),
        ({"scope": USER_SCOPE}, CLINIC.id, "invalid_scope", 1002012, 400),
        ({"scope": "https://typo.example/.default"}, CLINIC.id, "invalid_resource", 500011, 400),
        ({"scope": f"{APP_SCOPE} https://two.example/.default"}, CLINIC.id, "invalid_scope", 700022, 400),
        # assertions
        (
            {"client_secret": "", "client_assertion": "x"},
            CLINIC.id,
            "invalid_request",
            900144,
            400,
        ),
    ],
)
async def test_mistakes_of_an_application(
    tenant: Tenant,
    session: requests.Session,
    changes: dict[str, str],
    segment: str,
    error: str,
    number: int,
    status: int,
) -> None:
    answer = await ask(tenant, session, {**APPLICATION, **changes}, segment=segment)

    body = answer.json()
    assert (body["error"], body["error_codes"], answer.status_code) == (error, [number], status)


async def test_shape_of_an_error(tenant: Tenant, session: requests.Session) -> None:
    body = (await ask(tenant, session, {**APPLICATION, "client_secret": "wrong"})).json()

    first, *rest = body["error_description"].split("\r\n")
    assert re.fullmatch(r"AADSTS7000215: .+\.", first)
    assert rest == [
        f"Trace ID: {body['trace_id']}",
        f"Correlation ID: {body['correlation_id']}",
        f"Timestamp: {body['timestamp']}",
    ]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", body["timestamp"])
    assert body["error_uri"].endswith("?code=7000215")
    assert "wrong" not in body["error_description"]


async def test_shape_of_an_answer_to_an_application(tenant: Tenant, session: requests.Session) -> None:
    answer = await ask(tenant, session, APPLICATION)

    assert sorted(answer.json()) == ["access_token", "expires_in", "ext_expires_in", "token_type"]
    assert "no-store" in answer.headers["Cache-Control"]


async def test_shape_of_an_answer_to_a_person(
    tenant: Tenant, session: requests.Session, browser: Browser
) -> None:
    answer = await tokens(tenant, session, browser)

    expected = {"access_token", "client_info", "expires_in", "ext_expires_in", "id_token", "refresh_token"}
    assert set(answer) == expected | {"scope", "token_type"}
    assert answer["scope"] == f"{USER_SCOPE} offline_access openid profile"


async def test_offline_access_decides_about_refresh_tokens(
    tenant: Tenant, session: requests.Session, browser: Browser
) -> None:
    form = {**REDEEM, "code": await code(tenant, browser, scope=USER_SCOPE)}

    answer = (await ask(tenant, session, form)).json()

    assert not {"refresh_token", "id_token"} & set(answer)


@pytest.mark.parametrize("segment", [CLINIC.id, CLINIC.id.upper(), "clinic.example"])
async def test_names_of_one_tenant(tenant: Tenant, session: requests.Session, segment: str) -> None:
    token = (await ask(tenant, session, APPLICATION, segment=segment)).json()["access_token"]

    assert tenant.verify(token, AUDIENCE).tid == CLINIC.id


@pytest.mark.parametrize(
    ("scope", "audience"),
    [
        (f"{AUDIENCE}/.default", AUDIENCE),
        (f"{AUDIENCE}//.default", f"{AUDIENCE}/"),
    ],
)
async def test_audience_is_all_before_the_last_slash(
    tenant: Tenant, session: requests.Session, scope: str, audience: str
) -> None:
    token = (await ask(tenant, session, {**APPLICATION, "scope": scope})).json()["access_token"]

    assert tenant.verify(token, audience).aud == audience


async def test_version_2_tokens(tenant: Tenant, session: requests.Session) -> None:
    tenant.register(Resource("api://fhir", application_id="a-guid", token_version=2))

    token = (await ask(tenant, session, {**APPLICATION, "scope": "api://fhir/.default"})).json()[
        "access_token"
    ]

    claims = tenant.verify(token, "a-guid")
    assert (claims.iss, claims.ver, claims.appid) == (
        f"{tenant.authority}/v2.0",
        "2.0",
        SERVICE.client_id,
    )


async def test_expired_secret(tenant: Tenant, session: requests.Session, clock: MovableClock) -> None:
    tenant.register(replace(SERVICE, secret_expires_at=clock.now))

    body = (await ask(tenant, session, APPLICATION)).json()

    assert body["error_codes"] == [7000222]


async def test_problem_of_an_application(tenant: Tenant, session: requests.Session) -> None:
    tenant.register(replace(SERVICE, problem=53003))

    body = (await ask(tenant, session, APPLICATION)).json()

    assert (body["error"], body["suberror"]) == ("interaction_required", "message_only")


async def test_application_without_the_role(tenant: Tenant, session: requests.Session) -> None:
    tenant.register(Resource("https://strict.example", assignment_required=True))

    body = (await ask(tenant, session, {**APPLICATION, "scope": "https://strict.example/.default"})).json()

    assert body["error_codes"] == [501051]


@pytest.mark.parametrize(
    ("changes", "number"),
    [
        ({"code_verifier": "w" * 43}, 501481),
        ({"code_verifier": ""}, 501481),
        ({"redirect_uri": "http://localhost:1"}, 500112),
        ({"client_secret": SECRET}, 700025),
        ({"scope": "https://typo.example/user_impersonation"}, 500011),
        ({"scope": f"{AUDIENCE}/patient.read"}, 650053),
        ({"claims": "{"}, 9002313),
        ({"claims": '{"access_token":[]}'}, None),
        ({"claims": '{"access_token":{"xms_cc":1}}'}, 9002313),
        ({}, None),
    ],
)
async def test_redeeming_a_code(
    tenant: Tenant, session: requests.Session, browser: Browser, changes: dict[str, str], number: int | None
) -> None:
    form = {**REDEEM, "code": await code(tenant, browser), **changes}

    body = (await ask(tenant, session, form)).json()

    assert body.get("error_codes") == (None if number is None else [number])


async def test_code_is_good_once(tenant: Tenant, session: requests.Session, browser: Browser) -> None:
    form = {**REDEEM, "code": await code(tenant, browser)}

    answers = [(await ask(tenant, session, form)).json() for _ in range(2)]

    assert [answer.get("error_codes") for answer in answers] == [None, [54005]]


async def test_code_expires(
    tenant: Tenant, session: requests.Session, browser: Browser, clock: MovableClock
) -> None:
    form = {**REDEEM, "code": await code(tenant, browser)}

    clock.now += 600

    assert (await ask(tenant, session, form)).json()["error_codes"] == [70008]


async def test_code_of_a_web_application_demands_its_secret(
    tenant: Tenant, session: requests.Session, browser: Browser
) -> None:
    tenant.register(Resource(AUDIENCE, preauthorized=frozenset({SERVICE.client_id})))
    web = {"client_id": SERVICE.client_id, "redirect_uri": "http://localhost:9/signed-in"}
    form = {**REDEEM, **web, "code": await code(tenant, browser, **web)}

    refused = (await ask(tenant, session, form)).json()
    granted = (await ask(tenant, session, {**form, "client_secret": SECRET})).json()

    assert (refused["error_codes"], tenant.verify(granted["access_token"], AUDIENCE).appid) == (
        [7000218],
        SERVICE.client_id,
    )


async def test_refused_refresh_keeps_the_token(
    tenant: Tenant, session: requests.Session, browser: Browser
) -> None:
    form = {**REFRESH, "refresh_token": (await tokens(tenant, session, browser))["refresh_token"]}
    tenant.register(replace(MEMBER, problem=50076))
    refused = (await ask(tenant, session, form)).json()

    tenant.register(MEMBER)
    granted = (await ask(tenant, session, form)).json()

    assert (refused["error"], "access_token" in granted) == ("interaction_required", True)


async def test_refresh_without_consent_for_another_resource(
    tenant: Tenant, session: requests.Session, browser: Browser
) -> None:
    tenant.register(Resource("https://other.example"))
    form = {**REFRESH, "refresh_token": (await tokens(tenant, session, browser))["refresh_token"]}

    body = (await ask(tenant, session, {**form, "scope": "https://other.example/.default"})).json()

    assert (body["error"], body["error_codes"], body["suberror"]) == (
        "invalid_grant",
        [65001],
        "consent_required",
    )


async def test_refresh_in_a_tenant_where_the_user_is_not(
    tenant: Tenant, session: requests.Session, browser: Browser
) -> None:
    form = {**REFRESH, "refresh_token": (await tokens(tenant, session, browser))["refresh_token"]}

    body = (await ask(tenant, session, form, segment=PARTNER.id)).json()

    assert body["error_codes"] == [50020]


async def test_refresh_token_of_another_application(
    tenant: Tenant, session: requests.Session, browser: Browser
) -> None:
    tenant.register(replace(DESKTOP, client_id="another"))
    form = {**REFRESH, "refresh_token": (await tokens(tenant, session, browser))["refresh_token"]}

    body = (await ask(tenant, session, {**form, "client_id": "another"})).json()

    assert body["error_codes"] == [70000]


@pytest.mark.parametrize(
    ("changes", "segment", "number"),
    [
        ({"client_id": SERVICE.client_id}, CLINIC.id, 7000218),
        ({"client_id": "unknown"}, CLINIC.id, 700016),
        ({"scope": ""}, CLINIC.id, 900144),
        ({"scope": "openid"}, CLINIC.id, 70011),
        ({"scope": "https://typo.example/user_impersonation"}, CLINIC.id, 500011),
        ({}, "common", 90124),
        ({}, "organizations", None),
        ({}, CLINIC.id, None),
    ],
)
async def test_asking_for_a_device_code(
    tenant: Tenant, session: requests.Session, changes: dict[str, str], segment: str, number: int | None
) -> None:
    body = (await ask(tenant, session, {**DEVICE, **changes}, segment=segment, path="devicecode")).json()

    assert body.get("error_codes") == (None if number is None else [number])


async def test_parameter_that_stands_twice(tenant: Tenant, session: requests.Session) -> None:
    url = f"{tenant.authority}/oauth2/v2.0/token"

    answer = await asyncio.to_thread(session.post, url, data=[*APPLICATION.items(), ("scope", APP_SCOPE)])

    assert answer.json()["error_codes"] == [9002313]


async def test_records_hold_no_secret(tenant: Tenant, session: requests.Session, browser: Browser) -> None:
    answer = await tokens(tenant, session, browser)
    await ask(tenant, session, APPLICATION)

    remembered = repr(tenant.requests) + repr(tenant.registry)
    assert not [
        secret
        for secret in (
            SECRET,
            PASSWORD,
            answer["refresh_token"],
            answer["access_token"],
            REDEEM["code_verifier"],
        )
        if secret in remembered
    ]


async def test_disabled_user_has_no_way_in(tenant: Tenant, browser: Browser) -> None:
    page = await asyncio.to_thread(browser.sign_in, await authorize(tenant, browser), DISABLED)

    assert (page.name, page.code) == ("sign-in", 50057)
    assert REDIRECT == AUTHORIZE["redirect_uri"]
