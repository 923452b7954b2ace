from __future__ import annotations

import asyncio

import pytest
import requests

from proxy.sandbox.tenant import (
    Endpoint,
    Garbage,
    Hang,
    HttpError,
    InvalidToken,
    Lifetime,
    Refusal,
    Tenant,
    Truncated,
)

from .calling import APPLICATION, AUDIENCE, ask


@pytest.mark.parametrize(
    ("fault", "status", "retry_after"),
    [
        (Refusal(70043), 400, None),
        (Refusal(90055, retry_after=7), 429, "7"),
        (HttpError(500), 500, None),
        (HttpError(503, retry_after=30), 503, "30"),
        (Garbage(), 200, None),
    ],
)
async def test_fault_in_place_of_an_answer(
    tenant: Tenant,
    session: requests.Session,
    fault: Refusal | HttpError | Garbage,
    status: int,
    retry_after: str | None,
) -> None:
    tenant.faults.next(fault, times=2)

    answers = [await ask(tenant, session, APPLICATION) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [status, status, 200]
    assert answers[0].headers.get("Retry-After") == retry_after
    assert "eyJ" not in answers[0].text
    assert "access_token" in answers[2].json()


async def test_fault_until_cleared(tenant: Tenant, session: requests.Session) -> None:
    tenant.faults.always(HttpError(503))
    tenant.faults.next(HttpError(500))
    statuses = [(await ask(tenant, session, APPLICATION)).status_code for _ in range(3)]

    tenant.faults.clear()
    statuses.append((await ask(tenant, session, APPLICATION)).status_code)

    assert statuses == [500, 503, 503, 200]


async def test_truncated_answer(tenant: Tenant, session: requests.Session) -> None:
    tenant.faults.next(Truncated())

    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        await ask(tenant, session, APPLICATION)


async def test_expired_token(tenant: Tenant, session: requests.Session) -> None:
    tenant.faults.next(Lifetime(-1))

    token = (await ask(tenant, session, APPLICATION)).json()["access_token"]

    with pytest.raises(InvalidToken, match="expired"):
        tenant.verify(token, AUDIENCE)


async def test_hanging_request_is_seen_and_goes_on(tenant: Tenant, session: requests.Session) -> None:
    hang = Hang()
    tenant.faults.next(hang)

    asking = asyncio.create_task(ask(tenant, session, APPLICATION))
    await hang.reached.wait()
    seen = (len(tenant.token_requests), asking.done())
    hang.release()

    assert (seen, (await asking).status_code) == ((1, False), 200)


async def test_close_lets_the_hanging_go(tenant: Tenant, session: requests.Session) -> None:
    hang = Hang()
    tenant.faults.always(hang)
    asking = asyncio.create_task(ask(tenant, session, APPLICATION))
    await hang.reached.wait()

    await tenant.close()

    assert (await asking).status_code == 200


async def test_faults_of_other_endpoints(tenant: Tenant, session: requests.Session) -> None:
    tenant.faults.next(HttpError(500), endpoint=Endpoint.CONFIGURATION)
    url = f"{tenant.authority}/v2.0/.well-known/openid-configuration"

    token = await ask(tenant, session, APPLICATION)
    statuses = [(await asyncio.to_thread(session.get, url)).status_code for _ in range(2)]

    assert (token.status_code, statuses) == (200, [500, 200])
