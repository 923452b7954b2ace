"""Page after page, and a whole export, through a running proxy; what comes down goes up as the server had it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urljoin
from xml.etree import ElementTree

import pytest
from aiohttp import ClientSession, DummyCookieJar
from yarl import URL

from proxy.sandbox.fhir import SPELLINGS, FhirServer
from proxy.server import Proxy

from .fakes.byte_server import Peer, byte_server
from .running import proxy_before

KEY = "Secret-key_12345"
ALIAS = "http://fhir-server:8080/fhir"
PATIENTS = 8
FHIR = {"f": "http://hl7.org/fhir"}


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


Page = tuple[list[str], list[str], str | None]
"""What a page tells: the ids of its patients, their fullUrls, and the next page."""


def json_page(body: bytes) -> Page:
    bundle = json.loads(body)
    following = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
    entries = bundle["entry"]
    return [entry["resource"]["id"] for entry in entries], [entry["fullUrl"] for entry in entries], following


def xml_page(body: bytes) -> Page:
    bundle = ElementTree.fromstring(body)
    links = {
        link.find("f:relation", FHIR).get("value"): link.find("f:url", FHIR).get("value")
        for link in bundle.findall("f:link", FHIR)
    }
    ids = bundle.findall("f:entry/f:resource/f:Patient/f:id", FHIR)
    urls = bundle.findall("f:entry/f:fullUrl", FHIR)
    return [one.get("value") for one in ids], [one.get("value") for one in urls], links.get("next")


FORMATS: dict[str, Callable[[bytes], Page]] = {
    "application/fhir+json": json_page,
    "application/fhir+xml": xml_page,
}


async def patients(tool: ClientSession, base: str, accept: str = "application/fhir+json") -> list[str]:
    """The ids on all pages; a tool resolves a link against the page that it is on."""
    url: str | None = f"{base}/Patient?_count=3"
    ids = []
    while url:
        async with tool.get(URL(url, encoded=True), headers={"Accept": accept}) as response:
            assert (response.status, response.content_type) == (200, accept)
            found, full_urls, following = FORMATS[accept](await response.read())
        ids += found
        # What the tool is told leads through the proxy, each entry's own address too.
        async with tool.get(full_urls[0], headers={"Accept": accept}) as response:
            assert response.status == 200
        url = urljoin(url, following) if following else None
        assert all(one.startswith(base.removesuffix("/fhir/r4")) for one in (*full_urls, url or base))
    return ids


@pytest.mark.parametrize("accept", FORMATS)
@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_pages_lead_to_the_last_one(tool: ClientSession, spelling: str, accept: str) -> None:
    async with serving(spelling) as (_, proxy):
        found = await patients(tool, proxy.url, accept)

    assert len(set(found)) == PATIENTS


@pytest.mark.parametrize("path", ["", "/fhir/r4"])
@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_pages_keep_the_key_that_stands_in_the_path(
    tool: ClientSession, spelling: str, path: str
) -> None:
    async with serving(spelling, key=KEY) as (_, proxy):
        origin = proxy.url.removesuffix("/fhir/r4")
        found = await patients(tool, f"{origin}/k/{KEY}{path}")

    assert len(set(found)) == PATIENTS


# What is stored --------------------------------------------------------------------------------------------------

RECORDS = {
    "application/fhir+json": (
        '{"resourceType":"Patient","photo":[{"url":"{}/Binary/1"}],"link":[{"other":{"reference":"{}/Patient/2?x={}"}}],'
        '"generalPractitioner":[{"reference":"/fhir/r4/Practitioner/1"}],"extension":[{"url":"{}/x","valueDecimal":1.10}]}'
    ),
    "application/fhir+xml": (
        "<?xml version='1.0'?>\n<Patient xmlns='http://hl7.org/fhir'><photo><url value='{}/Binary/1'/></photo>"
        '<link><other><reference value="{}/Patient/2?a=1&amp;x={}"/></other></link>'
        '<generalPractitioner><reference value="/fhir/r4/Practitioner/1"/></generalPractitioner></Patient>'
    ),
}
WRITTEN: dict[str, Callable[[str], str]] = {
    "plain": lambda base: base,
    "capitals": lambda base: base.upper().replace("/FHIR/R4", "/fhir/r4"),
    "port twice": lambda base: base.replace("/fhir", f":{base.split(':')[2].partition('/')[0]}/fhir"),
    "alias": lambda _: ALIAS,
    "character references": lambda base: base.replace("/", "&#x2F;"),
    "escaped slashes": lambda base: base.replace("/", r"\/"),
    "escaped letters": lambda base: base.replace("/", r"\u002f"),
}


class Shelf:
    """A server that keeps one record, as it came."""

    def __init__(self, media_type: str) -> None:
        self.record = b""
        self._media_type = media_type

    async def __call__(self, peer: Peer) -> None:
        while True:
            head = await peer.head()
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
            if head.startswith(b"PUT "):
                self.record = await peer.exactly(int(fields[b"content-length"]))
            await peer.send(
                b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n"
                % (self._media_type.encode(), len(self.record)),
                self.record,
            )


@pytest.mark.parametrize("path", ["", "/fhir/r4", f"/k/{KEY}", f"/k/{KEY}/fhir/r4"])
@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("media_type", RECORDS)
async def test_record_that_is_read_and_written_back_is_what_it_was(
    tool: ClientSession, media_type: str, written: str, path: str
) -> None:
    shelf = Shelf(media_type)
    async with byte_server(shelf) as server:
        base = f"http://localhost:{server.port}/fhir/r4"
        record = RECORDS[media_type].replace("{}", WRITTEN[written](base)).encode()
        shelf.record = record
        async with proxy_before(base, aliases=[ALIAS], **({"key": KEY} if KEY in path else {})) as proxy:
            url = f"{proxy.url.removesuffix('/fhir/r4')}{path}/Patient/1"
            async with tool.get(url) as response:
                shown = await response.read()
            shelf.record = b""
            async with tool.put(url, data=shown, headers={"Content-Type": media_type}) as response:
                assert response.status == 200

    assert shown != record
    assert shelf.record == record


# Exports ---------------------------------------------------------------------------------------------------------


async def kicked_off(tool: ClientSession, base: str) -> str:
    async with tool.get(f"{base}/$export", headers={"Prefer": "respond-async"}) as response:
        assert response.status == 202
        return response.headers["Content-Location"]


async def test_export_that_is_cancelled_is_gone(tool: ClientSession) -> None:
    async with serving("plain") as (fhir, proxy):
        job = await kicked_off(tool, proxy.url)
        statuses = []
        for method in ("GET", "DELETE", "GET", "DELETE"):
            async with tool.request(method, job) as response:
                statuses.append(response.status)

        assert job.startswith(proxy.url)
        assert statuses == [202, 202, 404, 404]
        assert [record.method for record in fhir.requests] == ["GET", "GET", "DELETE", "GET", "DELETE"]


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_export_goes_through_to_the_files(tool: ClientSession, spelling: str) -> None:
    async with serving(spelling) as (_, proxy):
        job = await kicked_off(tool, proxy.url)
        status = 202
        while status == 202:
            async with tool.get(job) as response:
                status, manifest = response.status, await response.text()
        files = {one["type"]: one["url"] for one in json.loads(manifest)["output"]}
        async with tool.get(files["Patient"]) as response:
            lines = (await response.text()).strip().split("\n")

    assert len(lines) == PATIENTS
    assert all(url.startswith(proxy.url) for url in (job, json.loads(manifest)["request"], *files.values()))
