from __future__ import annotations

import time

from proxy.auth.clock import SystemClock


async def test_system_clock_tells_the_time_of_day() -> None:
    before = time.time()
    now = SystemClock().time()

    assert before <= now <= time.time()


async def test_system_clock_waits() -> None:
    clock = SystemClock()
    before = time.monotonic()
    await clock.sleep(0.001)

    assert time.monotonic() > before
