"""Threat model 3.7 on the program as a person starts it: what it prints while it is attacked, and its defences there.

What an exchange logs within this process is looked at after every attack: see conftest.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from ..fakes.byte_server import byte_server
from . import messages
from .ground import BASE, HEALTHY, PATIENT, SEARCH, TOKEN, HostileServer, get, head


@dataclass
class Running:
    upstream: HostileServer
    process: asyncio.subprocess.Process
    host: bytes
    printed: bytes = b""

    async def ask(self, request: bytes) -> list[messages.Answer]:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(self.host.rpartition(b":")[2]))
        writer.write(request.replace(b"%h", self.host).replace(b"%x", PATIENT.encode()))
        raw = await reader.read()
        writer.transport.abort()
        assert TOKEN.encode() not in raw
        return messages.answers(raw)


@asynccontextmanager
async def program(*arguments: str) -> AsyncIterator[Running]:
    """`python -m proxy run` before a hostile server; it is stopped, and what it printed read, at the end."""
    upstream = HostileServer()
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("FHIR_AUTH_", "AZURE_"))
    }
    environment["FHIR_AUTH_PROXY_TOKEN"] = TOKEN
    async with byte_server(upstream) as fake, asyncio.timeout(60):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "proxy", "run", f"http://127.0.0.1:{fake.port}{BASE.decode()}"),
            *("--auth", "token", "--listen", "127.0.0.1:0", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
        try:
            assert process.stdout is not None
            url = (await process.stdout.readline()).strip()
            running = Running(upstream, process, url.removeprefix(b"http://").removesuffix(BASE))
            yield running
            process.send_signal(signal.SIGTERM)
            running.printed = b"".join(await process.communicate())
            assert process.returncode == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()


ATTACKS = [
    (get(b"/Patient/%x?name=%x"), 200),
    (get(b"/Patient?name=%x", host=b"Host: %x.evil.example"), 421),
    (get(b"/Patient?name=%x", b"Origin: https://evil.example"), 403),
    (get(b"/%x/../admin?name=%x"), 400),
    (get(b"/Patient?name=%x\xff"), 400),
    (get(b"/Patient?name=%x", b"X: %x\x01"), 400),
    (get(b"/Patient?name=%x", b"%x %x: x"), 400),
    (get(b"/Patient?name=%x", b"X: %x" + b"y" * 70_000), 431),
    (head(b"POST", b"/Patient?name=%x", b"Content-Length: 14, %x"), 400),
    (head(b"POST", b"/Patient", b"Transfer-Encoding: chunked") + b"%x\r\n%x\r\n", 400),
    (head(b"%x", b"/Patient"), 400),
    (b"%x\r\n\r\n", 400),
    (b"GET /Patient\x1b[31m HTTP/1.1\r\nHost: %h\r\n\r\n", 400),
    (get(b"/Patient", b"Authorization: Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ%x"), 200),
]


@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_program_under_attack_prints_no_patient_and_no_token(log_format: str) -> None:
    async with program("--log-format", log_format, "--log-level", "debug") as running:
        for request, status in ATTACKS:
            answers = await running.ask(request)
            # A name that nobody has is quoted to the one who called by it; everything else of a request is not.
            assert [answer.status for answer in answers] == [status], request[:60]
            (healthy,) = await running.ask(get(b"/Patient/healthy"))
            assert (healthy.status, healthy.body) == (200, b"ok")
        reached = [request.target for request in running.upstream.requests if request.target != HEALTHY]

    assert len(reached) == sum(status == 200 for _, status in ATTACKS)
    lines = running.printed.decode().splitlines()
    assert "Debugging: shown" in next(line for line in lines if not line.startswith("http"))
    # The Host of the second attack is what its line is about.
    quiet = "\n".join(line for line in lines if "is not this proxy" not in line)
    assert PATIENT not in quiet
    assert TOKEN not in quiet
    assert "eyJ" not in quiet
    assert "\x1b" not in quiet
    assert "search-type Patient 200" in quiet
    assert "Traceback" not in quiet
    if log_format == "json":
        assert all(isinstance(json.loads(line), dict) for line in lines if line.startswith("{"))


async def test_program_serves_a_plain_search() -> None:
    async with program() as running:
        (answer,) = await running.ask(get())

        assert (answer.status, running.upstream.lines) == (200, [SEARCH])
