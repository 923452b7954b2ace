"""Threat model 3.2: who can reach the port at all."""

from __future__ import annotations

import asyncio
import socket

import pytest

from proxy.config import ServerConfig
from proxy.config.checks import CHECKS
from proxy.errors import ConfigError

from ..running import proxy_before
from .ground import SEARCH, assert_carried, assert_refused, get, ground

REMOTE = ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080", "fhir-proxy.example:8080"]


@pytest.mark.parametrize("listen", REMOTE)
@pytest.mark.parametrize(
    "settings", [{}, {"allow_remote": True}, {"allowed_hosts": ("fhir-proxy",)}], ids=repr
)
def test_listener_beyond_this_machine_has_to_be_meant_twice(listen: str, settings: dict[str, object]) -> None:
    config = ServerConfig.of({"base_url": "https://fhir.example", "listen": listen, **settings})

    assert [check.keys[0] for check in CHECKS if check.find(config)] == ["listen"]


async def test_default_listener_is_on_loopback_alone() -> None:
    async with ground(listen="localhost:0") as here:
        addresses = {
            bound.getsockname()[0] for listener in here.proxy._door._listeners for bound in listener.sockets
        }

        assert "127.0.0.1" in addresses
        assert addresses <= {"127.0.0.1", "::1"}
        assert await here.is_healthy()


async def test_listener_for_all_addresses_answers_to_its_names_alone() -> None:
    everywhere = {"listen": "0.0.0.0:0", "allow_remote": True, "allowed_hosts": ["fhir-proxy"]}
    await assert_carried(get(host=b"Host: fhir-proxy:%p"), SEARCH, **everywhere)
    await assert_refused(get(host=b"Host: 0.0.0.0:%p"), 421, **everywhere)
    await assert_refused(get(host=b"Host: 192.168.1.10:%p"), 421, **everywhere)


async def test_port_of_another_program_is_never_shared() -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        port = squatter.getsockname()[1]
        for listen in (f"127.0.0.1:{port}", f"localhost:{port}"):
            with pytest.raises(ConfigError, match="taken"):
                async with proxy_before("https://fhir.example", listen=listen):
                    raise AssertionError("it listens beside another program")


async def test_port_cannot_be_taken_from_the_proxy() -> None:
    async with ground() as here:
        with pytest.raises(OSError, match=r"in use|address"):
            await asyncio.start_server(
                lambda _reader, _writer: None, "127.0.0.1", here.port, reuse_address=True
            )
        assert await here.is_healthy()
