"""A running FHIR server and a client of it, for the tests of the sandbox."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from yarl import URL

from proxy.sandbox.fhir import FhirServer

PATIENTS = 30


@dataclass(frozen=True)
class Answered:
    """A response, read to its end."""

    status: int
    fields: aiohttp.typedefs.LooseHeaders = field(repr=False)
    body: bytes

    @property
    def json(self) -> dict:
        return json.loads(self.body)

    def link(self, relation: str) -> str | None:
        return next((link["url"] for link in self.json["link"] if link["relation"] == relation), None)

    @property
    def ids(self) -> list[str]:
        return [entry["resource"]["id"] for entry in self.json.get("entry", [])]


class Client:
    """Asks the server; a path is below its base, an address is taken as it is."""

    def __init__(self, server: FhirServer, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.session = session

    async def __call__(self, method: str, target: str, body: object = None, **fields: str) -> Answered:
        url = target if target.lower().startswith("http") else f"{self.server.base_url}/{target}"
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        data = json.dumps(body) if isinstance(body, dict | list) else body
        if body is not None:
            headers.setdefault("Content-Type", "application/fhir+json")
        async with self.session.request(
            method, URL(url, encoded=True), data=data, headers=headers, allow_redirects=False
        ) as response:
            return Answered(response.status, response.headers, await response.read())


@asynccontextmanager
async def running(**settings: object) -> AsyncIterator[Client]:
    server = FhirServer(**{"patients": PATIENTS, **settings})
    await server.start()
    try:
        async with aiohttp.ClientSession(
            headers={"Accept-Encoding": "identity"}, auto_decompress=False
        ) as session:
            yield Client(server, session)
    finally:
        await server.close()
