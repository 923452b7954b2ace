from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import requests

from proxy.sandbox.tenant import DESKTOP, SERVICE, Resource, Tenant

from ..browser import Browser, open_session
from .calling import AUDIENCE


class MovableClock:
    """Starts at the real time, since MSAL has no other, and goes on when told."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
async def tenant(clock: MovableClock) -> AsyncIterator[Tenant]:
    async with Tenant(clock=clock) as tenant:
        tenant.register(
            Resource(
                AUDIENCE,
                preauthorized=frozenset({DESKTOP.client_id}),
                app_roles={SERVICE.client_id: ("reader",)},
            )
        )
        yield tenant


@pytest.fixture
def session(tenant: Tenant, tmp_path: Path) -> Iterator[requests.Session]:
    file = tmp_path / "ca.pem"
    file.write_bytes(tenant.ca_pem)
    with open_session(str(file)) as session:
        yield session


@pytest.fixture
def browser(session: requests.Session) -> Iterator[Browser]:
    with open_session(str(session.verify)) as own:
        yield Browser(own)
