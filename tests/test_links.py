"""Page after page, and a whole export, through a running proxy; what comes down goes up as the server had it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urljoin

import pytest
from aiohttp import ClientSession, DummyCookieJar
from yarl import URL

from proxy.sandbox.fhir import SPELLINGS, FhirServer
from proxy.server import Proxy

from .running import proxy_before

KEY = "Secret-key_12345"
ALIAS = "http://fhir-server:8080/fhir"
PATIENTS = 20


@pytest.fixture
async def tool() -> AsyncIterator[ClientSession]:
    async with ClientSession(cookie_jar=DummyCookieJar()) as session:
        yield session


@asynccontextmanager
async def serving(spelling: str, **settings: object) -> AsyncIterator[tuple[FhirServer, Proxy]]:
    fhir = FhirServer(patients=PATIENTS, base_path="/fhir/r4", spelling=spelling, alias=ALIAS)
    await fhir.start()
    try:
        async with proxy_before(fhir.base_url, aliases=[ALIAS], **settings) as proxy:
            yield fhir, proxy
    finally:
        await fhir.close()


async def patients(tool: ClientSession, base: str) -> list[str]:
    """The ids on all pages; a tool resolves a link against the page that it is on."""
    url: str | None = f"{base}/Patient?_count=7"
    ids = []
    while url:
        async with tool.get(URL(url, encoded=True)) as response:
            assert response.status == 200, url
            bundle = await response.json(content_type=None)
        ids += [entry["resource"]["id"] for entry in bundle["entry"]]
        following = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
        url = urljoin(url, following) if following else None
        assert url is None or url.startswith(base.removesuffix("/fhir/r4"))
    return ids


@pytest.mark.parametrize("path", ["", "/fhir/r4"])
@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_pages_keep_the_key_that_stands_in_the_path(
    tool: ClientSession, spelling: str, path: str
) -> None:
    async with serving(spelling, key=KEY) as (_, proxy):
        origin = proxy.url.removesuffix("/fhir/r4")
        found = await patients(tool, f"{origin}/k/{KEY}{path}")

    assert len(set(found)) == PATIENTS
