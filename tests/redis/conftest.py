from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..auth.conftest import (
    app_settings,
    browser,
    ca_bundle,
    certificates,
    clock,
    lines,
    person_settings,
    probe,
    seams,
    tenant,
)
from ..clients.building import missing
from .server import PROGRAM, RedisServer

__all__ = [
    "app_settings",
    "browser",
    "ca_bundle",
    "certificates",
    "clock",
    "lines",
    "person_settings",
    "probe",
    "seams",
    "tenant",
]

Start = Callable[..., RedisServer]


@pytest.fixture
def start_redis(tmp_path: Path) -> Iterator[Start]:
    """Starts a server with options; where there is none, the test is skipped, or fails in CI."""
    if sys.platform == "win32":
        pytest.skip("there is no Redis for Windows")
    if PROGRAM is None:
        missing("neither redis-server nor valkey-server is installed")
    started = []

    def start(*options: str, has_tls: bool = False) -> RedisServer:
        server = RedisServer(tmp_path, *options, has_tls=has_tls)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever level a command has left behind."""
    caplog.set_level(logging.INFO, "proxy")


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit for Redis that no busy machine reaches."""
    monkeypatch.setattr("proxy.auth.redis_entries.LIMIT", 20.0)


@pytest.fixture
def redis_server(start_redis: Start) -> RedisServer:
    return start_redis()
