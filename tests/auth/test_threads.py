from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from proxy.auth.threads import in_thread


async def test_result_comes_from_another_thread() -> None:
    assert await in_thread(threading.get_ident) != threading.get_ident()


async def test_exception_reaches_who_awaits() -> None:
    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await in_thread(fail)


async def test_cancelled_call_is_left_to_itself() -> None:
    release, done = threading.Event(), threading.Event()

    def wait() -> None:
        release.wait()
        done.set()

    call = asyncio.create_task(in_thread(wait))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    release.set()

    assert done.wait(10)


HANGS = """
import asyncio, threading
from proxy.auth.threads import in_thread

async def main():
    call = asyncio.create_task(in_thread(threading.Event().wait))
    await asyncio.sleep(0)
    call.cancel()
    print("stopped")

asyncio.run(main())
"""


def test_thread_that_hangs_does_not_keep_the_process_alive() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=60, check=True
    )

    assert ended.stdout == "stopped\n"


OUTLIVES = """
import asyncio, threading
from proxy.auth.threads import in_thread

release = threading.Event()

async def main():
    asyncio.create_task(in_thread(release.wait))
    await asyncio.sleep(0)

asyncio.run(main())
release.set()
[thread.join() for thread in threading.enumerate() if thread.name == "entra"]
"""


def test_thread_that_outlives_the_loop_ends_quietly() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", OUTLIVES], capture_output=True, text=True, timeout=60, check=True
    )

    assert ended.stderr == ""
