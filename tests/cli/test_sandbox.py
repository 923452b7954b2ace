from __future__ import annotations

import asyncio
import shlex
import signal
import sys
from pathlib import Path

from aiohttp import ClientSession

from proxy.config import ServerConfig
from proxy.server import Proxy

from ..running import unattended


async def test_printed_settings_lead_a_proxy_in(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *(
            "-m",
            "proxy",
            "sandbox",
            "--port",
            "0",
            "--tenant-port",
            "0",
            "--patients",
            "3",
            "--storage",
            "--ca-file",
            str(ca_file),
        ),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        lines = [(await process.stdout.readline()).decode() for _ in range(6)]
        settings = dict(shlex.split(line)[0].split("=", 1) for line in lines)
        config = ServerConfig.of(
            {
                "base_url": settings["FHIR_AUTH_PROXY_BASE_URL"],
                "authority": settings["FHIR_AUTH_PROXY_AUTHORITY"],
                "ca_bundle": settings["FHIR_AUTH_PROXY_CA_BUNDLE"],
                "client_id": settings["AZURE_CLIENT_ID"],
                "client_secret": settings["AZURE_CLIENT_SECRET"],
                "export_storage": [settings["FHIR_AUTH_PROXY_EXPORT_STORAGE"]],
                "listen": "127.0.0.1:0",
            }
        )
        proxy = Proxy(config, unattended())
        await proxy.start()
        async with ClientSession() as tool, tool.get(f"{proxy.url}/Patient?_summary=count") as response:
            assert (await response.json(content_type=None))["total"] == 3
        await proxy.stop(1)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
