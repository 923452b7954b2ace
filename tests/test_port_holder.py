from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from proxy.errors import ConfigError
from proxy.port_holder import port_holder

from .running import proxy_before

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc/net")


@linux
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_holder_is_named(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as taken:
        holder = port_holder(taken.getsockname()[1])

    assert holder.endswith(f" (pid {os.getpid()})")


@linux
async def test_taken_port_names_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(ConfigError, match=rf"is taken by .+ \(pid {os.getpid()}\)\."):
            async with proxy_before("http://127.0.0.1:9", listen=f"127.0.0.1:{taken.getsockname()[1]}"):
                pass


def test_port_that_nobody_holds_has_no_holder(unused_tcp_port: int) -> None:
    assert port_holder(unused_tcp_port) == ""


TABLES = [
    "",
    "header\n",
    "header\nshort line\n",
    "header\n0: 0100007F:1F90 0:0 0A 0 0 0 0 0 77\n",
    "header\n0: x:zz 0 0A",
]


@pytest.mark.parametrize("table", TABLES)
def test_system_that_tells_nothing_is_no_failure(tmp_path: Path, table: str) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text(table)
    (tmp_path / "1").mkdir()

    assert port_holder(8080, tmp_path) == ""
    assert port_holder(8080, tmp_path / "none") == ""
