"""Replicas as they run: each a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import ClientSession, TCPConnector

from proxy.auth import Seams, authenticator
from proxy.sandbox import Sandbox
from proxy.sandbox.tenant import SECRET, SERVICE, Hang, Tenant

from ..auth.conftest import Settings, token_of
from ..cli.test_run import url_of
from .server import RedisServer
from .test_replicas import COUNT, KEY, grants

PATIENT_PROGRAM = """\
from proxy.auth import redis_entries
from proxy.cli import main
redis_entries.LIMIT = 20.0  # a busy machine is no slow Redis
main()
"""

Start = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts Python with arguments; whatever still runs at the end is killed."""
    started = []

    async def start(*arguments: str, **environment: str) -> asyncio.subprocess.Process:
        clean = {
            name: text for name, text in os.environ.items() if not name.startswith(("FHIR_AUTH_", "AZURE_"))
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=clean | environment,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(patients=1) as sandbox:
        yield sandbox


@pytest.fixture
def run(start: Start, sandbox: Sandbox, redis_server: RedisServer, tmp_path: Path) -> Start:
    """Starts the program as a replica of the others."""
    ca_file, key_file = tmp_path / "ca.pem", tmp_path / "keys"
    ca_file.write_bytes(sandbox.tenant.ca_pem)
    key_file.write_text(f"{KEY}\n")

    async def run() -> asyncio.subprocess.Process:
        return await start(
            *(
                "-c",
                PATIENT_PROGRAM,
                "run",
                sandbox.fhir.base_url,
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                "off",
            ),
            *(
                "--auth",
                "client-secret",
                "--authority",
                sandbox.tenant.authority,
                "--ca-bundle",
                str(ca_file),
            ),
            *("--client-id", SERVICE.client_id, "--token-cache-key-file", str(key_file)),
            FHIR_AUTH_PROXY_CLIENT_SECRET=SECRET,
            FHIR_AUTH_PROXY_TOKEN_CACHE=redis_server.url,
        )

    return run


async def test_1000_first_requests_at_4_replicas_cause_one_token_request(
    run: Start, sandbox: Sandbox
) -> None:
    async with AsyncExitStack() as stack:
        tool = await stack.enter_async_context(ClientSession(connector=TCPConnector(limit=100)))
        processes = await asyncio.gather(*(run() for _ in range(COUNT)))
        urls = await asyncio.gather(*map(url_of, processes))

        async def read(url: str) -> int:
            async with tool.get(f"{url}/Patient?_summary=count") as answer:
                await answer.read()
                return answer.status

        statuses = await asyncio.gather(*(read(url) for _ in range(250) for url in urls))

    assert {200} == set(statuses)
    assert len(statuses) == 1000
    assert grants(sandbox.tenant) == ["client_credentials"]


@pytest.mark.parametrize("blow", ["SIGKILL", "SIGSTOP"])
@pytest.mark.skipif(sys.platform == "win32", reason="these signals are POSIX")
async def test_holder_that_falls_delays_and_loses_nothing(run: Start, sandbox: Sandbox, blow: str) -> None:
    hang = Hang()
    sandbox.tenant.faults.next(hang)
    async with ClientSession() as tool:
        first, second = await asyncio.gather(run(), run())
        urls = [await url_of(process) for process in (first, second)]
        lost = asyncio.ensure_future(tool.get(f"{urls[0]}/Patient?_summary=count"))
        await hang.reached.wait()
        first.send_signal(getattr(signal, blow))
        async with tool.get(f"{urls[1]}/Patient?_summary=count") as answer:
            assert answer.status == 200
        lost.cancel()
        await asyncio.gather(lost, return_exceptions=True)

    assert grants(sandbox.tenant) == ["client_credentials"] * 2


async def test_two_processes_use_no_refresh_token_twice(
    start: Start,
    tenant: Tenant,
    person_settings: Settings,
    seams: Seams,
    redis_server: RedisServer,
    ca_bundle: str,
) -> None:
    settings = person_settings(auth="interactive", token_cache=redis_server.url, token_cache_key=KEY)
    signing = authenticator(settings, seams)
    await token_of(signing)
    await signing.close()
    workers = [
        await start("-m", "tests.redis.worker", tenant.authority, ca_bundle, redis_server.url, KEY, "40")
        for _ in range(2)
    ]
    ended = await asyncio.gather(*(worker.communicate() for worker in workers))

    # The sandbox takes a refresh token once: a second use would have ended a worker.
    assert [(stdout.count(b"renewed"), stderr) for stdout, stderr in ended] == [(40, b""), (40, b"")]
    assert set(grants(tenant)[1:]) == {"refresh_token"}
    assert len(grants(tenant)) > 40
