"""A proxy with its admin listener, in this process, on real sockets."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from proxy.admin import AdminListener, Metrics
from proxy.auth import Seams
from proxy.config import ListenAddress, ServerConfig
from proxy.sandbox import Sandbox
from proxy.sandbox.tenant import SECRET, SERVICE
from proxy.server import Proxy

from ..running import unattended


@dataclass
class Operated:
    proxy: Proxy
    url: str
    """Of the admin listener."""
    stopped: asyncio.Event

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@asynccontextmanager
async def operated(
    base_url: str,
    *,
    address: str = "127.0.0.1:0",
    admin_port: int = 0,
    seams: Seams | None = None,
    **settings: object,
) -> AsyncIterator[Operated]:
    config = {"base_url": base_url, "listen": "127.0.0.1:0", "auth": "anonymous", **settings}
    metrics, stopped = Metrics(), asyncio.Event()
    admin = AdminListener(metrics, stopped.set)
    seams = replace(seams or unattended(), page=lambda: admin.page_of(1))
    proxy = Proxy(ServerConfig.of(config), seams, metrics=metrics)
    admin.watches = [proxy.watch]
    bound = socket.create_server(("127.0.0.1", admin_port))
    try:
        await admin.start(ListenAddress.parse(address), [bound])
        await proxy.start()
        yield Operated(proxy, f"http://127.0.0.1:{bound.getsockname()[1]}", stopped)
    finally:
        await proxy.stop(0)
        await admin.close()


@asynccontextmanager
async def operated_before(
    sandbox: Sandbox, seams: Seams | None = None, **settings: object
) -> AsyncIterator[Operated]:
    """As `operated`, signed in to the sandbox as an application."""
    with tempfile.TemporaryDirectory() as folder:
        ca_file = Path(folder) / "ca.pem"
        ca_file.write_bytes(sandbox.tenant.ca_pem)
        signed_in = {
            "auth": "client-secret",
            "authority": sandbox.tenant.authority,
            "client_id": SERVICE.client_id,
            "client_secret": SECRET,
            "ca_bundle": str(ca_file),
        }
        async with operated(sandbox.fhir.base_url, seams=seams, **{**signed_in, **settings}) as running:
            yield running
