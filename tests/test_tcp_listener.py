from __future__ import annotations

import errno
import socket

import pytest

from proxy.config import Config, ListenAddress
from proxy.errors import ConfigError
from proxy.tcp_listener import bound_sockets, cannot_listen


async def test_all_addresses_of_localhost_have_one_port() -> None:
    sockets = await bound_sockets(ListenAddress("localhost", 0))
    ports = {bound.getsockname()[1] for bound in sockets}
    for bound in sockets:
        bound.close()

    assert len(ports) == 1


async def test_taken_port_is_never_shared() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"admin_listen = 127.0.0.1:{port}: port {port} is taken"):
            await bound_sockets(ListenAddress("127.0.0.1", port), "admin_listen")


async def test_unknown_name_is_told() -> None:
    with pytest.raises(ConfigError, match="no address named 'no-such-host"):
        await bound_sockets(ListenAddress("no-such-host.invalid", 0))


def test_other_reasons_not_to_listen_are_told() -> None:
    error = cannot_listen(
        Config.model_validate({"server": [{"base_url": "https://a.example", "listen": "127.0.0.1:80"}]})
        .servers[0]
        .listen,
        PermissionError(errno.EACCES, "Permission denied"),
        "listen",
    )

    assert "Permission denied" in error.message
