"""A real tenant over TLS for the tests of signing in, and what a sign-in needs from outside."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from proxy.auth import Authenticator, Gate, Seams
from proxy.auth.cache import CachedAuthenticator
from proxy.config import ServerConfig
from proxy.model import Fields, ResponseHead
from proxy.sandbox.certificates import CertificateAuthority
from proxy.sandbox.tenant import DESKTOP, SECRET, SERVICE, Resource, Tenant

from ..fakes.browser import ScriptedBrowser
from ..fakes.clock import FakeClock

BASE_URL = "https://fhir.clinic.example"

Settings = Callable[..., ServerConfig]


class Probes:
    """The server's answer to a read without credentials; counts how often it is asked for."""

    def __init__(self) -> None:
        self.head = ResponseHead(401, b"Unauthorized", Fields())
        self.count = 0

    async def __call__(self) -> ResponseHead:
        self.count += 1
        return self.head


@pytest.fixture(scope="session")
def certificates() -> CertificateAuthority:
    return CertificateAuthority.create()


@pytest.fixture
async def tenant(certificates: CertificateAuthority, clock: FakeClock) -> AsyncIterator[Tenant]:
    async with Tenant(certificates=certificates, clock=clock.time) as tenant:
        tenant.register(Resource(BASE_URL, preauthorized=frozenset({DESKTOP.client_id})))
        yield tenant
        tenant.faults.clear()
        # Those that were left behind in a hang close their sockets now, and the loop sees that before it ends.
        await until(lambda: not _connections(tenant) and not _threads())


@pytest.fixture
def ca_bundle(certificates: CertificateAuthority, tmp_path: Path) -> str:
    file = tmp_path / "ca.pem"
    file.write_bytes(certificates.ca_pem)
    return str(file)


@pytest.fixture
async def clock() -> FakeClock:
    return FakeClock(time.time())


@pytest.fixture
async def browser(tenant: Tenant) -> AsyncIterator[ScriptedBrowser]:
    browser = ScriptedBrowser(tenant.ca_pem)
    yield browser
    await browser.close()


@pytest.fixture
def lines() -> list[str]:
    """What the person at the terminal is told."""
    return []


@pytest.fixture
async def probe() -> Probes:
    return Probes()


@pytest.fixture
async def seams(clock: FakeClock, browser: ScriptedBrowser, lines: list[str], probe: Probes) -> Seams:
    return Seams(clock, browser, lines.append, attended=True, probe=probe)


@pytest.fixture
async def app_settings(tenant: Tenant, ca_bundle: str) -> Settings:
    """Settings of the method client-secret, with changes."""

    def settings(**changes: object) -> ServerConfig:
        given = {
            "base_url": BASE_URL,
            "auth": "client-secret",
            "authority": tenant.authority,
            "client_id": SERVICE.client_id,
            "client_secret": SECRET,
            "ca_bundle": ca_bundle,
        }
        return ServerConfig.of({**given, **changes})

    return settings


@pytest.fixture
async def person_settings(tenant: Tenant, ca_bundle: str) -> Settings:
    """Settings of a method for people, with changes."""

    def settings(**changes: object) -> ServerConfig:
        given = {
            "base_url": BASE_URL,
            "authority": tenant.authority,
            "client_id": DESKTOP.client_id,
            "ca_bundle": ca_bundle,
            "token_cache": "none",
        }
        return ServerConfig.of({**given, **changes})

    return settings


async def until(condition: Callable[[], object]) -> None:
    """Let the loop and the threads go on until something holds that tells nobody."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


def _threads() -> bool:
    return any(thread.name == "entra" for thread in threading.enumerate())


def _connections(tenant: Tenant) -> int:
    runner = tenant._runner
    return len(runner.server.connections) if runner is not None and runner.server is not None else 0


async def token_of(authenticator: Authenticator) -> str:
    """The bearer token that an exchange would send now."""
    credentials = await authenticator.credentials()
    assert credentials is not None
    scheme, _, value = credentials.authorization.decode().partition(" ")
    assert scheme == "Bearer"
    return value


async def renewed_ahead(authenticator: Authenticator) -> None:
    """Make a request and wait for the end of the renewal that it starts behind its back."""
    cached = authenticator.inner if isinstance(authenticator, Gate) else authenticator
    assert isinstance(cached, CachedAuthenticator)
    await authenticator.credentials()
    assert cached._flight is not None
    await asyncio.wait({cached._flight.task})
