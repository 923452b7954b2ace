"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio


class FakeClock:
    """Wall clock and waiting."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now
        self.sleeps: list[float] = []
        self._sleepers: dict[asyncio.Future[None], float] = {}
        self._changed = asyncio.Event()

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self._changed.set()
        sleeper = asyncio.get_running_loop().create_future()
        self._sleepers[sleeper] = self.now + seconds
        try:
            await sleeper
        finally:
            del self._sleepers[sleeper]

    def advance(self, seconds: float) -> None:
        """Let time go by, also backwards; whoever's sleep is over goes on."""
        self.now += seconds
        for sleeper, until in self._sleepers.items():
            if until <= self.now and not sleeper.done():
                sleeper.set_result(None)

    async def slept_times(self, count: int) -> None:
        """Wait until somebody has begun to sleep for that many times."""
        async with asyncio.timeout(10):
            while len(self.sleeps) < count:
                self._changed.clear()
                await self._changed.wait()

    async def slept(self, seconds: float) -> None:
        """Wait until somebody sleeps for that long."""
        while not any(until == self.now + seconds for until in self._sleepers.values()):
            self._changed.clear()
            await self._changed.wait()
