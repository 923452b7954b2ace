"""Servers that want a sign-in, and the proxies before them, on an event loop of their own thread.

The tools of these tests block, and run in this process or in others.
"""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import threading
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import aiohttp
import pytest

from proxy.cli.terminal import terminal_seams
from proxy.config import ServerConfig
from proxy.model import BaseUrl
from proxy.sandbox import Sandbox
from proxy.sandbox.fhir import FhirServer
from proxy.sandbox.fhir.json_text import write
from proxy.sandbox.fhir.patients import population
from proxy.sandbox.fhir.spellings import SPELLINGS
from proxy.sandbox.storage import AUDIENCE, StorageAccount
from proxy.sandbox.tenant import SECRET, SERVICE, Resource
from proxy.server import Proxy

from .building import hapi_command
from .gate import Gate
from .plain_proxy import PlainProxy

T = TypeVar("T")

PATIENTS = 30
STEP_SECONDS = 60
ALIAS = "http://fhir-server:8080/fhir"
"""What the spelling "alias" takes for the server's base."""
PROXY, PLAIN = "fhir-auth-proxy", "plain proxy"


@dataclass(frozen=True)
class Server:
    """A FHIR server that wants a sign-in; the tests read it at `read_url`, `ways` are the proxies before it."""

    base_url: str
    read_url: str
    token: str
    ways: dict[str, str]


class World:
    """Starts what is asked for, once; `close` stops all of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._stack = AsyncExitStack()
        self._servers: dict[str, Server] = {}
        self._sandbox: Sandbox | None = None

    def close(self) -> None:
        try:
            self.run(self._stack.aclose())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def run(self, work: Coroutine[object, object, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(STEP_SECONDS)

    def server(self, name: str) -> Server:
        if name not in self._servers:
            self._servers[name] = SERVERS[name](self)
        return self._servers[name]

    def count(self, server: Server) -> int:
        """How many patients the server has."""
        return self.run(self._count(server))

    def stored(self, server: Server) -> str:
        """The patients and observations as the server itself gives them."""
        return self.run(self._stored(server))

    def start_sandbox(self) -> Server:
        return self.run(self._start_sandbox())

    def start_speller(self, spelling: str) -> Server:
        """A sandbox that writes its addresses in another way; its base URL has a path."""
        return self.run(self._start_speller(spelling))

    def start_storing(self) -> Server:
        """A sandbox that keeps the files of exports in a storage account."""
        return self.run(self._start_storing())

    def start_hapi(self) -> Server:
        process = subprocess.Popen(
            [*hapi_command(), "Server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._stack.callback(_end, process)
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            pytest.fail("HAPI's server did not start; its stderr says why", pytrace=False)
        return self.run(self._start_gate(url))

    async def _running_sandbox(self) -> Sandbox:
        if self._sandbox is None:
            self._sandbox = Sandbox(patients=PATIENTS)
            await self._stack.enter_async_context(self._sandbox)
            (self._folder / "ca.pem").write_bytes(self._sandbox.tenant.ca_pem)
        return self._sandbox

    async def _start_sandbox(self) -> Server:
        sandbox = await self._running_sandbox()
        return await self._with_proxies(sandbox.fhir.base_url, sandbox.fhir.base_url)

    async def _start_gate(self, hapi_url: str) -> Server:
        sandbox = await self._running_sandbox()
        gate = Gate(hapi_url.removesuffix("/fhir"), "/fhir", sandbox.tenant)
        await gate.start()
        self._stack.push_async_callback(gate.close)
        sandbox.tenant.register(
            Resource(gate.base_url, app_roles={SERVICE.client_id: ("globalAdmin",)}),
        )
        async with aiohttp.ClientSession() as session:
            for resource in population(PATIENTS, gate.base_url):
                url = f"{hapi_url}/{resource['resourceType']}/{resource['id']}"
                fields = {"Content-Type": "application/fhir+json"}
                async with session.put(url, data=write(resource), headers=fields) as answer:
                    answer.raise_for_status()
        return await self._with_proxies(gate.base_url, hapi_url)

    async def _start_speller(self, spelling: str) -> Server:
        tenant = (await self._running_sandbox()).tenant
        fhir = FhirServer(
            tenant.verify, patients=PATIENTS, base_path="/fhir/r4", spelling=spelling, alias=ALIAS
        )
        await fhir.start()
        self._stack.push_async_callback(fhir.close)
        tenant.register(Resource(fhir.base_url, app_roles={SERVICE.client_id: ("globalAdmin",)}))
        return await self._with_proxies(fhir.base_url, fhir.base_url)

    async def _start_storing(self) -> Server:
        tenant = (await self._running_sandbox()).tenant
        account = StorageAccount(tenant.verify)
        await account.start(tenant.certificates.server_context())
        self._stack.push_async_callback(account.close)
        fhir = FhirServer(tenant.verify, patients=PATIENTS, export_to=account)
        await fhir.start()
        self._stack.push_async_callback(fhir.close)
        tenant.register(
            Resource(fhir.base_url, app_roles={SERVICE.client_id: ("globalAdmin",)}), Resource(AUDIENCE)
        )
        return await self._with_proxies(fhir.base_url, fhir.base_url, export_storage=[account.host])

    async def _with_proxies(self, base_url: str, read_url: str, **changes: object) -> Server:
        token = await self._token(base_url)
        base = BaseUrl.parse(base_url)
        plain = PlainProxy(base.origin, token)
        await plain.start()
        self._stack.push_async_callback(plain.close)
        settings = {
            "base_url": base_url,
            "aliases": [ALIAS],
            "listen": "localhost:0",
            "auth": "client-secret",
            "authority": (await self._running_sandbox()).tenant.authority,
            "ca_bundle": str(self._folder / "ca.pem"),
            "client_id": SERVICE.client_id,
            "client_secret": SECRET,
            **changes,
        }
        proxy = Proxy(ServerConfig.of(settings), terminal_seams())
        self._stack.push_async_callback(proxy.stop, 1.0)
        await proxy.start()
        ways = {PROXY: proxy.url, PLAIN: plain.origin + base.path}
        return Server(base_url, read_url, token, ways)

    async def _token(self, audience: str) -> str:
        tenant = (await self._running_sandbox()).tenant
        form = {
            "grant_type": "client_credentials",
            "client_id": SERVICE.client_id,
            "client_secret": SECRET,
            "scope": f"{audience}/.default",
        }
        context = ssl.create_default_context(cadata=tenant.ca_pem.decode())
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{tenant.authority}/oauth2/v2.0/token", data=form, ssl=context) as answer,
        ):
            return (await answer.json())["access_token"]

    async def _count(self, server: Server) -> int:
        async with (
            _session(server.token) as session,
            session.get(f"{server.read_url}/Patient?_summary=count") as answer,
        ):
            return (await answer.json(content_type=None))["total"]

    async def _stored(self, server: Server) -> str:
        texts = []
        async with _session(server.token) as session:
            for type_ in ("Patient", "Observation"):
                async with session.get(f"{server.read_url}/{type_}?_count=500") as answer:
                    page = await answer.json(content_type=None)
                    assert all(link["relation"] != "next" for link in page["link"])
                    texts.append(await answer.text())
        return "\n".join(texts)


def _session(token: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"})


def _end(process: subprocess.Popen[str]) -> None:
    """A server of ours ends with its input."""
    process.communicate(timeout=STEP_SECONDS)


def _speller(spelling: str) -> Callable[[World], Server]:
    return lambda world: world.start_speller(spelling)


SANDBOX, STORING, HAPI = "sandbox", "sandbox with a storage account", "HAPI"
SERVERS: dict[str, Callable[[World], Server]] = {
    SANDBOX: World.start_sandbox,
    STORING: World.start_storing,
    HAPI: World.start_hapi,
    **{spelling: _speller(spelling) for spelling in SPELLINGS},
}
