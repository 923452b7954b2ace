from __future__ import annotations

import os
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
    """Starts a server with options. Without CI=true its tests are skipped where there is none to start."""
    if PROGRAM is None:
        reason = "neither redis-server nor valkey-server is installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    started = []

    def start(*options: str, has_tls: bool = False) -> RedisServer:
        server = RedisServer(tmp_path, *options, has_tls=has_tls)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit for Redis that no busy machine reaches."""
    monkeypatch.setattr("proxy.auth.redis_entries.LIMIT", 20.0)


@pytest.fixture
def redis_server(start_redis: Start) -> RedisServer:
    return start_redis()
