"""The tour of `demo --check`: what the proxy does, seen from a tool, on real sockets.

Each step says what it saw, or raises NotSeen at the first thing that is off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import ClientSession

from ..sandbox import Sandbox
from ..sandbox.tenant import Endpoint

CROWD = 200
"""Tools that ask at once before anyone has signed in."""


class NotSeen(Exception):
    """What a step expected to see, and did not."""


@dataclass(frozen=True, slots=True)
class Sights:
    """What a step looks at: the sandbox, the proxy, and a second proxy with the wrong audience."""

    sandbox: Sandbox
    tool: ClientSession
    proxy_url: str
    misled_url: str = ""


Step = Callable[[Sights], Awaitable[str]]


async def _refused_directly(sights: Sights) -> str:
    async with sights.tool.get(f"{sights.sandbox.fhir.base_url}/Patient") as answer:
        challenge = answer.headers.get("WWW-Authenticate", "")
        _expect(answer.status == 401, f"the server answered {answer.status}")
        _expect("authorization_uri=" in challenge, f"its challenge is {challenge!r}")
        return f"401, {challenge.partition(',')[0]}, …"


async def _one_token_for_all(sights: Sights) -> str:
    async def ask() -> int:
        async with sights.tool.get(f"{sights.proxy_url}/Patient?_count=1") as answer:
            await answer.read()
            return answer.status

    statuses = await asyncio.gather(*(ask() for _ in range(CROWD)))
    _expect(set(statuses) == {200}, f"statuses {sorted(set(statuses))}")
    grants = [record.grant_type for record in sights.sandbox.tenant.token_requests]
    # A device code is polled for; each other request is one token.
    sign_ins = sum(record.endpoint is Endpoint.DEVICE_CODE for record in sights.sandbox.tenant.requests)
    tokens = sign_ins or len(grants)
    _expect(tokens == 1, f"{tokens} tokens were asked for: {', '.join(grants)}")
    return f"{CROWD} answers of 200, 1 token"


async def _served_through_proxy(sights: Sights) -> str:
    async with sights.tool.get(f"{sights.proxy_url}/Patient?_count=1") as answer:
        bundle = await answer.json(content_type=None)
        _expect(answer.status == 200, f"the proxy answered {answer.status}")
        _expect(bundle["resourceType"] == "Bundle", f"it holds a {bundle['resourceType']}")
        return f"200, a {bundle['type']} with {bundle['entry'][0]['fullUrl']}"


async def _paged_to_the_end(sights: Sights) -> str:
    count_url = f"{sights.proxy_url}/Patient?_summary=count"
    async with sights.tool.get(count_url) as answer:
        expected = (await answer.json(content_type=None))["total"]
    url: str | None = f"{sights.proxy_url}/Patient?_count=50"
    seen: set[str] = set()
    pages = 0
    while url is not None:
        _expect(url.startswith(f"{sights.proxy_url}/"), f"page {pages + 1} leaves the proxy: {url}")
        async with sights.tool.get(url) as answer:
            bundle = await answer.json(content_type=None)
        pages += 1
        seen.update(entry["fullUrl"] for entry in bundle.get("entry", ()))
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
    _expect(len(seen) == expected, f"{len(seen)} of {expected} patients on {pages} pages")
    return f"{len(seen)} patients on {pages} pages, all at {sights.proxy_url}"


async def _nothing_local_is_stored(sights: Sights) -> str:
    patient = {
        "resourceType": "Patient",
        "name": [{"family": "Tour"}],
        "link": [{"other": {"reference": f"{sights.proxy_url}/Patient/1"}, "type": "seealso"}],
        "photo": [{"contentType": "image/png", "url": f"{sights.proxy_url}/Binary/photo"}],
    }
    async with sights.tool.post(f"{sights.proxy_url}/Patient", json=patient) as answer:
        location = answer.headers.get("Location", "")
        _expect(answer.status == 201, f"the proxy answered {answer.status}")
        _expect(location.startswith(f"{sights.proxy_url}/Patient/"), f"Location is {location!r}")
    stored = sights.sandbox.fhir.stored("Patient", location.split("/Patient/")[1].partition("/")[0])
    _expect(sights.proxy_url not in stored, "the stored patient holds a local URL")
    _expect(f"{sights.sandbox.fhir.base_url}/Patient/1" in stored, "its reference is not the server's")
    return f"stored with {sights.sandbox.fhir.base_url}/Patient/1, no local URL"


async def _wrong_audience_explained(sights: Sights) -> str:
    async with sights.tool.get(f"{sights.misled_url}/Patient") as answer:
        outcome = await answer.json(content_type=None)
        _expect(answer.status == 502, f"the proxy answered {answer.status}")
        _expect("WWW-Authenticate" not in answer.headers, "the tool is asked to sign in by itself")
    issue = outcome["issue"][0]
    expected = sights.sandbox.fhir.base_url
    _expect(issue["code"] == "login", f"the issue's code is {issue['code']}")
    _expect(f"--audience {expected}" in issue.get("diagnostics", ""), f"{issue} does not name {expected}")
    return f"502, “{issue['diagnostics']}”"


SECURED: tuple[tuple[str, Step], ...] = (
    ("Straight to the server, without a token", _refused_directly),
    (f"{CROWD} tools at once through the proxy, before any sign-in", _one_token_for_all),
    ("One search through the proxy", _served_through_proxy),
    ("Every page of a search", _paged_to_the_end),
    ("A patient that is created with local links", _nothing_local_is_stored),
    ("A proxy with the wrong audience", _wrong_audience_explained),
)
OPEN: tuple[tuple[str, Step], ...] = (
    ("One search through the proxy", _served_through_proxy),
    ("Every page of a search", _paged_to_the_end),
    ("A patient that is created with local links", _nothing_local_is_stored),
)


def _expect(is_seen: bool, otherwise: str) -> None:
    if not is_seen:
        raise NotSeen(otherwise)
