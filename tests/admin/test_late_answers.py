"""The admin listener before its answers are loaded: in a process of its own, where nothing has asked before."""

from __future__ import annotations

import subprocess
import sys

import pytest

LATE = ("aiohttp.web_app", "jinja2", "prometheus_client", "proxy.admin.application", "proxy.admin.page")

SCRIPT = f"""
import asyncio, sys
from proxy.admin import AdminListener, Metrics
from proxy.config import ListenAddress
from proxy.tcp_listener import bound_sockets
from proxy.cli.event_loop import new_event_loop

def loaded():
    return [name for name in {LATE!r} if name in sys.modules]

async def ask(port, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {{path}} HTTP/1.1\\r\\nHost: localhost:{{port}}\\r\\nConnection: close\\r\\n\\r\\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.split()[1].decode()

async def main():
    admin = AdminListener(Metrics(), lambda: None)
    address = ListenAddress.parse("127.0.0.1:0")
    await admin.start(address, await bound_sockets(address, "admin_listen"))
    port = int(admin.url.rpartition(":")[2])
    print(loaded())
    await SCENARIO(admin, port)
    print([task for task in asyncio.all_tasks() if task is not asyncio.current_task()])

async def asked(admin, port):
    print(sorted(await asyncio.gather(*(ask(port, path) for path in ("/healthz", "/readyz", "/metrics", "/")))))
    print(await ask(port, "/nowhere"))
    await admin.close()

async def left(admin, port):
    writer = (await asyncio.open_connection("127.0.0.1", port))[1]
    writer.close()
    print(await ask(port, "/healthz"))
    await admin.close()

async def closed(admin, port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.1\\r\\n")
    while not admin._visits:
        await asyncio.sleep(0)
    await admin.close()
    print(await asyncio.gather(reader.read(), return_exceptions=True))
    writer.close()

async def failed(admin, port):
    def exhausted(name, package):
        raise OSError(24, "Too many open files")

    from proxy.admin import listener
    kept, listener.import_module = listener.import_module, exhausted
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: print(repr(context["exception"])))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    print(*await asyncio.gather(reader.read(), return_exceptions=True))
    writer.close()
    listener.import_module = kept
    print(await ask(port, "/healthz"))
    await admin.close()

SCENARIO = SCENARIO_NAME
with asyncio.Runner(loop_factory=LOOP) as runner:
    runner.run(main())
"""


def outcome(scenario: str, loop: str) -> list[str]:
    script = SCRIPT.replace("SCENARIO_NAME", scenario).replace("LOOP", loop)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


LOOPS = pytest.mark.parametrize("loop", ["new_event_loop", "asyncio.new_event_loop"])


@LOOPS
def test_first_visitors_are_answered_as_all_others(loop: str) -> None:
    assert outcome("asked", loop) == ["[]", "['200', '200', '200', '200']", "404", "[]"]


@LOOPS
def test_visitor_who_leaves_at_once_is_no_matter(loop: str) -> None:
    assert outcome("left", loop) == ["[]", "200", "[]"]


@LOOPS
def test_listener_that_closes_cuts_whoever_waits_for_its_answers(loop: str) -> None:
    assert outcome("closed", loop)[2:] == ["[]"]


@LOOPS
def test_answers_that_could_not_be_loaded_are_loaded_for_the_next_visitor(loop: str) -> None:
    printed = outcome("failed", loop)

    assert "OSError(24, 'Too many open files')" in printed
    assert "200" in printed
