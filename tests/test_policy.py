from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientResponse, ClientSession, DummyCookieJar

from proxy.sandbox import Sandbox

from .running import proxy_of


@pytest.fixture
async def tool() -> AsyncIterator[ClientSession]:
    async with ClientSession(cookie_jar=DummyCookieJar()) as session:
        yield session


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(patients=3) as running:
        yield running


async def told(response: ClientResponse) -> str:
    outcome = await response.json(content_type=None)
    assert outcome["issue"][0]["code"] in {"forbidden", "too-long"}
    return f"{response.status} {outcome['issue'][0]['details']['text']} {outcome['issue'][0]['diagnostics']}"


FHIR = {"Content-Type": "application/fhir+json"}


def batch(proxy_url: str, *methods: str) -> dict[str, object]:
    entries = [{"request": {"method": method, "url": f"{proxy_url}/Patient"}} for method in methods]
    return {"resourceType": "Bundle", "type": "batch", "entry": entries}


async def test_read_only_lets_reads_pass_and_sends_nothing_else(
    tool: ClientSession, sandbox: Sandbox
) -> None:
    async with proxy_of(sandbox, policy="read-only") as proxy:
        async with tool.post(f"{proxy.url}/Patient/_search", data={"_count": "1"}) as response:
            assert response.status == 200
        # The entry's URL is local, and is the server's by the time it is judged.
        async with tool.post(f"{proxy.url}/", json=batch(proxy.url, "GET"), headers=FHIR) as response:
            assert response.status == 200
        seen = len(sandbox.fhir.requests)
        async with tool.post(f"{proxy.url}/Patient", json={"resourceType": "Patient"}) as response:
            assert await told(response) == (
                '403 create Patient is not allowed: it is no read. The setting is policy = "read-only".'
            )
        async with tool.get(f"{proxy.url}/Patient", headers={"X-HTTP-Method-Override": "DELETE"}) as response:
            assert response.status == 200
        async with tool.post(f"{proxy.url}/", json=batch(proxy.url, "GET", "POST"), headers=FHIR) as response:
            assert (await told(response)).startswith(
                "403 Entry 1 of the batch: create Patient is not allowed"
            )
        large = {**batch(proxy.url, "GET"), "identifier": {"value": "x" * 300_000}}
        async with tool.post(f"{proxy.url}/", json=large, headers=FHIR) as response:
            assert (await told(response)).startswith("413 The batch is too large")

    assert [record.method for record in sandbox.fhir.requests[seen:]] == ["GET"]


async def test_only_what_is_listed_passes(tool: ClientSession, sandbox: Sandbox) -> None:
    async with proxy_of(sandbox, allow=["search-type"]) as proxy:
        async with tool.get(f"{proxy.url}/Patient?_count=1") as response:
            assert response.status == 200
        async with tool.get(f"{proxy.url}/metadata") as response:
            assert await told(response) == (
                '403 capabilities is not allowed. The setting is allow = ["search-type"].'
            )
