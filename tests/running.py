"""The program before the sandbox, in this process, on real sockets."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from proxy.auth import Seams, SystemClock
from proxy.config import ServerConfig
from proxy.sandbox import Sandbox
from proxy.sandbox.tenant import SECRET, SERVICE
from proxy.server import Proxy


class NoBrowser:
    def open(self, url: str) -> bool:
        raise AssertionError(f"a browser was opened at {url}")


def unattended(told: list[str] | None = None) -> Seams:
    tell = (lambda line: None) if told is None else told.append
    return Seams(clock=SystemClock(), browser=NoBrowser(), tell=tell, attended=False)


@asynccontextmanager
async def proxy_before(base_url: str, seams: Seams | None = None, **settings: object) -> AsyncIterator[Proxy]:
    """A proxy for any server; anonymous unless the settings say otherwise."""
    config = {"base_url": base_url, "listen": "127.0.0.1:0", "auth": "anonymous", **settings}
    proxy = Proxy(ServerConfig.of(config), seams or unattended())
    try:
        await proxy.start()
        yield proxy
    finally:
        await proxy.stop(0)


@contextmanager
def app_settings(sandbox: Sandbox) -> Iterator[dict[str, object]]:
    """What signs in to the sandbox as an application."""
    with tempfile.TemporaryDirectory() as folder:
        ca_file = Path(folder) / "ca.pem"
        ca_file.write_bytes(sandbox.tenant.ca_pem)
        yield {
            "auth": "client-secret",
            "authority": sandbox.tenant.authority,
            "client_id": SERVICE.client_id,
            "client_secret": SECRET,
            "ca_bundle": str(ca_file),
        }


@asynccontextmanager
async def proxy_of(sandbox: Sandbox, seams: Seams | None = None, **settings: object) -> AsyncIterator[Proxy]:
    """A proxy that signs in to the sandbox as an application."""
    with app_settings(sandbox) as signed_in:
        async with proxy_before(sandbox.fhir.base_url, seams, **{**signed_in, **settings}) as proxy:
            yield proxy
