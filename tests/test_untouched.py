"""Bodies that pass byte for byte: the content of Binaries, and what the tool wants untouched."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import ClientSession, DummyCookieJar

from proxy.server import Proxy

from .fakes.byte_server import Peer, byte_server
from .running import proxy_before

OFF = {"X-Fhir-Auth-Proxy-Rewrite": "off"}


@dataclass
class Keeper:
    """A server that keeps one request and answers with a reference to itself."""

    answer_type: str = "application/fhir+json"
    base: str = ""
    head: str = ""
    body: bytes = b""
    served: list[bytes] = field(default_factory=list)

    async def __call__(self, peer: Peer) -> None:
        self.head = (await peer.head()).decode("latin-1")
        fields = {
            name.lower(): value
            for name, _, value in (line.partition(": ") for line in self.head.split("\r\n"))
        }
        self.body = await peer.exactly(int(fields.get("content-length", "0")))
        body = referring(self.base)
        self.served.append(body)
        await peer.send(
            f"HTTP/1.1 201 Created\r\nContent-Type: {self.answer_type}\r\nLocation: {self.base}/Patient/1\r\n"
            f'ETag: "strong"\r\nContent-Length: {len(body)}\r\n\r\n'.encode(),
            body,
        )

    def field(self, name: str) -> str | None:
        lines = (line.partition(": ") for line in self.head.split("\r\n"))
        return next((value for key, _, value in lines if key.lower() == name.lower()), None)


def referring(base: str) -> bytes:
    return json.dumps({"resourceType": "Bundle", "reference": f"{base}/Patient/1"}).encode()


@pytest.fixture
async def tool() -> AsyncIterator[ClientSession]:
    async with ClientSession(cookie_jar=DummyCookieJar()) as session:
        yield session


@pytest.fixture
async def keeper() -> AsyncIterator[tuple[Keeper, Proxy]]:
    keeper = Keeper()
    async with byte_server(keeper) as server:
        keeper.base = f"http://127.0.0.1:{server.port}"
        async with proxy_before(keeper.base) as proxy:
            yield keeper, proxy


@pytest.mark.parametrize(
    ("answer_type", "accept", "mapped"),
    [
        ("application/json", "*/*", False),
        ("text/xml", "*/*", False),
        ("application/x-ndjson", "*/*", False),
        ("application/json", "application/fhir+json", True),
        ("application/fhir+ndjson", "*/*", True),
    ],
)
async def test_content_of_a_binary_passes_as_it_is(
    tool: ClientSession, keeper: tuple[Keeper, Proxy], answer_type: str, accept: str, mapped: bool
) -> None:
    server, proxy = keeper
    server.answer_type = answer_type
    async with tool.get(f"{proxy.url}/Binary/1", headers={"Accept": accept}) as response:
        body = await response.read()

    assert body == (referring(proxy.url) if mapped else server.served[0])
    assert response.headers["ETag"] == ('W/"strong"' if mapped else '"strong"')


@pytest.mark.parametrize(
    ("media_type", "mapped"), [("application/json", False), ("application/fhir+json", True)]
)
async def test_content_for_a_binary_arrives_as_it_is(
    tool: ClientSession, keeper: tuple[Keeper, Proxy], media_type: str, mapped: bool
) -> None:
    server, proxy = keeper
    fields = {"Content-Type": media_type}
    async with tool.put(f"{proxy.url}/Binary/1", data=referring(proxy.url), headers=fields):
        pass

    assert server.body == referring(server.base if mapped else proxy.url)


async def test_one_exchange_leaves_its_bodies_untouched(
    tool: ClientSession, keeper: tuple[Keeper, Proxy]
) -> None:
    server, proxy = keeper
    fields = {"Content-Type": "application/fhir+json", "Accept-Encoding": "x-tool", **OFF}
    async with tool.post(f"{proxy.url}/Bundle", data=referring(proxy.url), headers=fields) as response:
        body = await response.read()

    assert (server.body, body) == (referring(proxy.url), server.served[0])
    assert (response.headers["ETag"], response.headers["Content-Length"]) == ('"strong"', str(len(body)))
    assert server.field("Accept-Encoding") == "x-tool"
    assert server.field("X-Fhir-Auth-Proxy-Rewrite") is None


async def test_its_head_leads_through_the_proxy_all_the_same(
    tool: ClientSession, keeper: tuple[Keeper, Proxy]
) -> None:
    server, proxy = keeper
    fields = {"If-None-Exist": f"subject={proxy.url}/Patient/1", **OFF}
    async with tool.get(f"{proxy.url}/Basic?subject={proxy.url}/Patient/1", headers=fields) as response:
        assert response.headers["Location"] == f"{proxy.url}/Patient/1"

    assert server.head.startswith(f"GET /Basic?subject={server.base}/Patient/1 ")
    assert server.field("If-None-Exist") == f"subject={server.base}/Patient/1"


@pytest.mark.parametrize(("fields", "mapped"), [({}, True), (OFF, False)])
async def test_resource_in_a_field_is_untouched_with_the_bodies(
    tool: ClientSession, keeper: tuple[Keeper, Proxy], fields: dict[str, str], mapped: bool
) -> None:
    server, proxy = keeper
    provenance = referring(proxy.url).decode()
    async with tool.get(f"{proxy.url}/Patient", headers={"X-Provenance": provenance, **fields}):
        pass

    assert server.field("X-Provenance") == (referring(server.base).decode() if mapped else provenance)


@pytest.mark.parametrize("wish", ["on", "of", "", "off, off"])
async def test_wish_that_is_not_understood_is_refused(
    tool: ClientSession, keeper: tuple[Keeper, Proxy], wish: str
) -> None:
    server, proxy = keeper
    async with tool.get(f"{proxy.url}/Patient/1", headers={"X-Fhir-Auth-Proxy-Rewrite": wish}) as response:
        assert response.status == 400

    assert server.head == ""
