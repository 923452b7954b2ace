from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from proxy.stepping import Bell, Run, in_task

Way = Callable[[Coroutine[None, None, None]], object]


def as_run(coroutine: Coroutine[None, None, None]) -> object:
    run = Run(coroutine)
    run.begin()
    return run


WAYS = pytest.mark.parametrize("way", [as_run, asyncio.ensure_future])


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def outside_of_tasks(call: Callable[[], None]) -> None:
    """Call as a protocol is called: by the event loop, in no task."""
    done = asyncio.Event()

    def called() -> None:
        assert asyncio.current_task() is None
        call()
        done.set()

    asyncio.get_running_loop().call_soon(called)
    await done.wait()


class Story:
    """A coroutine that tells how far it has come, at each bell."""

    def __init__(self) -> None:
        self.bell = Bell()
        self.told: list[str] = []

    async def steps(self) -> None:
        self.told.append("begun")
        try:
            await self.bell
            self.told.append("rung")
            await self.bell
            self.told.append("rung again")
        except asyncio.CancelledError:
            self.told.append("cancelled")
            raise


async def test_goes_on_within_the_call_that_rings() -> None:
    story = Story()
    seen: list[list[str]] = []

    def call() -> None:
        run = Run(story.steps())
        run.begin()
        seen.append(story.told[:])
        story.bell.ring()
        seen.append(story.told[:])
        story.bell.ring()
        seen.append(story.told[:])

    await outside_of_tasks(call)

    assert [["begun"], ["begun", "rung"], ["begun", "rung", "rung again"]] == seen


async def test_bell_wakes_a_task_too() -> None:
    story = Story()
    task = asyncio.create_task(story.steps())
    await turns()
    story.bell.ring()
    await turns()
    story.bell.ring()
    await task

    assert ["begun", "rung", "rung again"] == story.told


async def test_bell_that_nobody_waits_at_does_nothing() -> None:
    story = Story()
    story.bell.ring()

    def call() -> None:
        Run(story.steps()).begin()

    await outside_of_tasks(call)

    assert ["begun"] == story.told


async def test_cancelled_run_ends_at_once_and_is_rung_in_vain() -> None:
    story = Story()

    def call() -> None:
        run = Run(story.steps())
        run.begin()
        run.cancel()
        assert ["begun", "cancelled"] == story.told
        story.bell.ring()
        run.cancel()

    await outside_of_tasks(call)

    assert ["begun", "cancelled"] == story.told


async def test_run_that_cancels_itself_is_cancelled_where_it_waits_next() -> None:
    story = Story()
    runs: list[Run] = []

    async def steps() -> None:
        runs[0].cancel()
        await story.steps()

    def call() -> None:
        runs.append(Run(steps()))
        runs[0].begin()

    await outside_of_tasks(call)
    await turns()

    assert ["begun", "cancelled"] == story.told


async def test_what_is_raised_comes_out_of_the_call_that_carries_on() -> None:
    bell = Bell()

    async def steps() -> None:
        await bell
        raise ValueError("told")

    def call() -> None:
        Run(steps()).begin()
        with pytest.raises(ValueError, match="told"):
            bell.ring()

    await outside_of_tasks(call)


@pytest.mark.parametrize("is_done", [False, True])
async def test_waits_for_what_asyncio_offers_as_a_task(is_done: bool) -> None:
    future = asyncio.get_running_loop().create_future()
    bell, told = Bell(), []

    async def steps() -> None:
        await bell
        told.append(asyncio.current_task())
        told.append(await future)
        told.append(asyncio.current_task())
        async with asyncio.timeout(5):
            await bell
        told.append("rung")

    def call() -> None:
        Run(steps()).begin()
        bell.ring()
        if is_done:
            future.set_result("come")  # before the task that waits for it has begun

    await outside_of_tasks(call)
    await turns()
    if not is_done:
        future.set_result("come")
        await turns()
    bell.ring()
    await turns()

    assert told[0] is None
    assert "come" == told[1]
    assert isinstance(told[2], asyncio.Task)
    assert "rung" == told[3]


@pytest.mark.parametrize("turns_before", [0, 3])
async def test_is_cancelled_as_a_task_from_its_first_moment_on(turns_before: int) -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    told: list[str] = []
    runs: list[Run] = []

    async def steps() -> None:
        try:
            await future
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    def call() -> None:
        runs.append(Run(steps()))
        runs[0].begin()
        if not turns_before:
            runs[0].cancel()

    await outside_of_tasks(call)
    await turns(turns_before)
    runs[0].cancel()
    await turns()

    assert ["cancelled"] == told


async def test_becomes_a_task_where_it_wants_to() -> None:
    told: list[bool] = []

    async def steps() -> None:
        for _ in range(2):
            await in_task()
            async with asyncio.timeout(5):
                await asyncio.sleep(0)
            told.append(True)

    await outside_of_tasks(lambda: Run(steps()).begin())
    await turns()

    assert [True, True] == told


@WAYS
async def test_bell_is_waited_for_no_longer_than_said(way: Way) -> None:
    bell, told = Bell(), []

    async def steps() -> None:
        told.append(await bell.rings_within(0))
        told.append(await bell.rings_within(60))

    await outside_of_tasks(lambda: way(steps()) and None)
    await asyncio.sleep(0.01)
    bell.ring()
    await turns()

    assert [False, True] == told


@WAYS
async def test_cancelled_wait_leaves_no_timer(way: Way) -> None:
    bell = Bell()
    runs: list[object] = []

    async def steps() -> None:
        await bell.rings_within(0.001)

    await outside_of_tasks(lambda: runs.append(way(steps())))
    await turns()
    [run] = runs
    run.cancel()  # type: ignore[attr-defined]
    await asyncio.sleep(0.01)  # whatever its timer rang would fail the test as an unhandled error
    bell.ring()
