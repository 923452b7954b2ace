"""The doctor before the sandbox, in this process, on real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

from proxy.auth import Seams
from proxy.config import ServerConfig
from proxy.doctor import Finding, Report, Status, examine
from proxy.sandbox import Sandbox
from proxy.sandbox.tenant import SECRET, SERVICE

from ..running import unattended

OK, WARNING, FAILED, SKIPPED = Status


class Walk:
    """What the doctor found, and all the text of it."""

    def __init__(self, report: Report, shown: list[Finding]) -> None:
        self.report = report
        self.shown = shown
        self.text = json.dumps(report.document())

    def __getitem__(self, step: str) -> Finding:
        return next(finding for finding in self.report.findings if finding.step == step)

    def statuses(self) -> dict[str, Status]:
        """The steps that did not end well, or not at all."""
        return {one.step: one.verdict.status for one in self.report.findings if one.verdict.status is not OK}


@asynccontextmanager
async def settled(sandbox: Sandbox) -> AsyncIterator[Sandbox]:
    """The sandbox, which stops when it has seen that everybody has hung up."""
    async with sandbox:
        yield sandbox
        async with asyncio.timeout(30):
            while _connections(sandbox):  # noqa: ASYNC110  the end of a connection tells nobody
                await asyncio.sleep(0.001)


def _connections(sandbox: Sandbox) -> int:
    runners = (sandbox.tenant._runner, sandbox.fhir._runner)
    return sum(len(runner.server.connections) for runner in runners if runner and runner.server)


def app(sandbox: Sandbox, folder: Path, **settings: object) -> ServerConfig:
    """The settings of an application that signs in to the sandbox."""
    ca_file = folder / "ca.pem"
    ca_file.write_bytes(sandbox.tenant.ca_pem)
    return ServerConfig.of(
        {
            "base_url": sandbox.fhir.base_url,
            "listen": "127.0.0.1:0",
            "auth": "client-secret",
            "authority": sandbox.tenant.authority,
            "client_id": SERVICE.client_id,
            "client_secret": SECRET,
            "ca_bundle": str(ca_file),
            **settings,
        }
    )


def anonymous(base_url: str) -> ServerConfig:
    return ServerConfig.of({"base_url": base_url, "listen": "127.0.0.1:0", "auth": "anonymous"})


async def walked(config: ServerConfig, seams: Seams | None = None) -> Walk:
    shown: list[Finding] = []
    report = await examine(config, seams or unattended(), shown.append)
    return Walk(report, shown)


def attended(seams: Seams) -> Seams:
    return replace(seams, attended=True)


@contextmanager
def taken_port() -> Iterator[int]:
    """A port that somebody listens on and nobody answers at."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]
