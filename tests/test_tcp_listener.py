from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from proxy.config import Config, ListenAddress
from proxy.errors import ConfigError
from proxy.tcp_listener import bound_sockets, cannot_listen, let_join


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
        Config.of({"server": [{"base_url": "https://a.example", "listen": "127.0.0.1:80"}]})
        .servers[0]
        .listen,
        PermissionError(errno.EACCES, "Permission denied"),
        "listen",
    )

    assert "Permission denied" in error.message


linux = pytest.mark.skipif(sys.platform != "linux", reason="the rules of Linux for SO_REUSEPORT")


@pytest.fixture
async def held() -> AsyncIterator[ListenAddress]:
    """A port that processes of this user may join."""
    (holder,) = await bound_sockets(ListenAddress("127.0.0.1", 0))
    let_join(holder)
    with holder:
        yield ListenAddress("127.0.0.1", holder.getsockname()[1])


async def joined(address: ListenAddress) -> socket.socket:
    (bound,) = await bound_sockets(address, joining=True)
    bound.listen()
    return bound


@linux
async def test_opened_port_is_joined_by_several_and_again_when_all_have_gone(held: ListenAddress) -> None:
    for _ in range(2):
        with await joined(held), await joined(held), socket.create_connection((held.host, held.port)):
            pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((held.host, held.port))


@linux
@pytest.mark.parametrize("serving", [False, True])
async def test_opened_port_is_taken_for_whoever_does_not_join(held: ListenAddress, *, serving: bool) -> None:
    others = [await joined(held)] if serving else []
    try:
        with pytest.raises(ConfigError, match=f"port {held.port} is taken"):
            await bound_sockets(held)
    finally:
        for other in others:
            other.close()


@linux
async def test_port_that_was_not_opened_is_never_joined() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} is taken"):
            await bound_sockets(ListenAddress("127.0.0.1", port), joining=True)


ANOTHER_USER = """
import os, socket, sys
os.setuid(65534)
for options in ([], [socket.SO_REUSEADDR], [socket.SO_REUSEPORT], [socket.SO_REUSEADDR, socket.SO_REUSEPORT]):
    bound = socket.socket()
    for option in options:
        bound.setsockopt(socket.SOL_SOCKET, option, 1)
    try:
        bound.bind(("127.0.0.1", int(sys.argv[1])))
        print("had it")
    except OSError as error:
        print(error.errno)
"""


@linux
@pytest.mark.skipif(sys.platform != "win32" and os.geteuid() != 0, reason="only root becomes another user")
@pytest.mark.parametrize("serving", [0, 2])
async def test_opened_port_is_closed_to_other_users_whether_or_not_anybody_listens(
    held: ListenAddress, serving: int
) -> None:
    ours = [await joined(held) for _ in range(serving)]
    try:
        found = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", ANOTHER_USER, str(held.port)],
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        for one in ours:
            one.close()

    assert [str(errno.EADDRINUSE)] * 4 == found.stdout.split()
