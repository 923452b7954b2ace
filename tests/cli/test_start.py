"""What is loaded when: a tool gets its first answer before the libraries of the sign-in, of the status page and of
kept sign-ins have been read from disk."""

from __future__ import annotations

import subprocess
import sys

ANSWERS_BEFORE_SIGN_IN = """
import asyncio, logging, sys
from proxy.auth import Seams, SystemClock
from proxy.auth.browser import SystemBrowser
from proxy.config import ServerConfig
from proxy.server import Proxy

async def main():
    config = ServerConfig.of({
        "base_url": "https://fhir.example/r4", "listen": "127.0.0.1:0", "auth": "client-secret",
        "tenant": "contoso.example", "client_id": "b0c7c0de-0000-4000-8000-000000000001", "client_secret": "s",
    })
    seams = Seams(clock=SystemClock(), browser=SystemBrowser(), tell=print, attended=False)
    proxy = Proxy(config, seams)
    await proxy.start()
    port = int(proxy.url.split(":")[2].split("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /Patient HTTP/1.1\\r\\nHost: elsewhere.example\\r\\nConnection: close\\r\\n\\r\\n")
    answer = await reader.read()
    writer.close()
    await proxy.stop(0)
    late = {"cryptography", "jinja2", "msal", "portalocker", "requests", "rich", "segno"}
    print(answer.split()[1].decode(), sorted(late & set(sys.modules)))

logging.disable()
asyncio.run(main())
"""


def test_listener_answers_before_what_few_requests_need_is_loaded() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ANSWERS_BEFORE_SIGN_IN], capture_output=True, text=True, check=False
    )

    assert (done.stdout, done.stderr) == ("421 []\n", "")


LATE = {
    *("aiohttp", "jinja2", "msal", "prometheus_client", "requests", "rich", "webbrowser"),
    *("proxy.admin.application", "proxy.admin.exposition", "proxy.admin.page", "proxy.cli.worker"),
    *("proxy.auth.auto", "proxy.auth.entra", "proxy.auth.personal", "proxy.auth.receiver"),
    *("proxy.doctor", "proxy.sandbox", "proxy.tracing.collector", "proxy.workers"),
}


def test_command_that_serves_is_loaded_without_what_few_starts_need() -> None:
    script = f"import sys, proxy.cli.run; print(sorted({LATE!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert (done.stdout, done.stderr) == ("[]\n", "")
