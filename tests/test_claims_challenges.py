"""What a server wants a token to hold, from its challenge by way of Entra ID to the request that is sent again."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from proxy.sandbox import Sandbox
from proxy.sandbox.fhir import Answer

from .running import proxy_of

WANTED = {"access_token": {"polids": {"essential": True, "values": ["8a2f1c70-4c5e-4f06-9a43-d1b1a7f5e0c1"]}}}
PLAIN = json.dumps(WANTED, separators=(",", ":"))
PACKED = base64.b64encode(PLAIN.encode()).decode()
URL_SAFE = base64.urlsafe_b64encode(PLAIN.encode()).decode().rstrip("=")
AUTHORITY = 'authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize"'


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(patients=1) as sandbox:
        yield sandbox


def refusal(status: int, challenge: str) -> Answer:
    return Answer(status, (("WWW-Authenticate", challenge),), b"no")


async def statuses(sandbox: Sandbox, count: int = 1) -> list[int]:
    """What a tool gets for that many reads, one after the other."""
    async with proxy_of(sandbox) as proxy, ClientSession() as tool:
        found = []
        for _ in range(count):
            async with tool.get(f"{proxy.url}/Patient?_summary=count") as answer:
                found.append(answer.status)
        return found


FORMS = [
    pytest.param(401, f'Bearer {AUTHORITY}, error="insufficient_claims", claims="{PACKED}"', id="as documented"),
    pytest.param(401, f'Bearer error="invalid_token", error_description="revoked", claims="{URL_SAFE}"', id="revoked"),
    pytest.param(401, f'Bearer {AUTHORITY}, PoP nonce="n", Bearer error="insufficient_claims", claims="{PACKED}"', id="among others"),
    pytest.param(403, f"Bearer {AUTHORITY}, error=insufficient_claims, claims={PLAIN}", id="old: 403, plain JSON"),
    pytest.param(403, f'Bearer {AUTHORITY}, error="insufficient_claims", claims="{PACKED}"', id="403, as documented"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "challenge"), FORMS)
async def test_wanted_claims_reach_entra_and_the_request_goes_again(
    sandbox: Sandbox, status: int, challenge: str
) -> None:
    sandbox.fhir.faults.append(refusal(status, challenge))
    found = await statuses(sandbox)
    first, second = sandbox.tenant.token_requests

    assert found == [200]
    assert "polids" not in first.claims
    assert json.loads(second.claims) == {
        "access_token": {**WANTED["access_token"], "xms_cc": {"values": ["CP1"]}}
    }


OTHERS = [
    pytest.param('Bearer error="insufficient_scope", scope="a"', id="another error"),
    pytest.param('Bearer error="insufficient_claims"', id="no claims"),
    pytest.param('Bearer error="insufficient_claims", claims="%%%"', id="no JSON"),
    pytest.param(f'Bearer error="insufficient_claims", claims="{"A" * 9000}"', id="too long"),
    pytest.param(f'Digest error="insufficient_claims", claims="{PACKED}"', id="another scheme"),
]


@pytest.mark.parametrize("challenge", OTHERS)
async def test_any_other_403_is_the_servers_answer(sandbox: Sandbox, challenge: str) -> None:
    sandbox.fhir.faults.append(refusal(403, challenge))

    assert await statuses(sandbox) == [403]
    assert len(sandbox.tenant.token_requests) == 1


@pytest.mark.parametrize(("status", "found"), [(401, 502), (403, 403)])
async def test_challenge_is_answered_once_for_a_request(sandbox: Sandbox, status: int, found: int) -> None:
    sandbox.fhir.faults.extend([refusal(status, f"Bearer error=insufficient_claims, claims={PLAIN}")] * 9)

    assert await statuses(sandbox) == [found]
    assert len(sandbox.tenant.token_requests) == 2
    assert len(sandbox.fhir.requests) == 2


async def test_server_that_never_has_enough_does_not_keep_entra_busy(sandbox: Sandbox) -> None:
    for number in range(4):
        wanted = json.dumps({"access_token": {"n": {"value": str(number)}}})
        challenge = f"Bearer error=insufficient_claims, claims={wanted}"
        sandbox.fhir.faults.extend([refusal(403, challenge), Answer(200, body=b"{}")])

    assert await statuses(sandbox, 5) == [200, 502, 502, 502, 502]
    assert len(sandbox.tenant.token_requests) == 2
