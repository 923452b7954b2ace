"""Coroutines that go on within the call that they wait for.

A task of asyncio goes on in a later turn of the event loop. That, the task itself and a future for each wait cost
more than all rules of an exchange together. A `Run` costs none of it as long as its coroutine waits at a `Bell` alone:
whoever rings it carries the coroutine on, and has control again when that waits anew or has ended. For anything else
that is waited for, asyncio's own, a task takes the rest over, from where it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any, final

Steps = Coroutine[Any, Any, None]
"""What is run; by its type anything may be waited for in it."""

_is_in_run = False
"""Whether the innermost coroutine that is being carried on is one of a Run, and no task."""


@final
class Bell:
    """What one coroutine at a time waits at, in a Run or in a task."""

    __slots__ = ("go_on",)

    def __init__(self) -> None:
        self.go_on: Callable[[], object] | None = None
        """What carries on whoever waits; for Run to set."""

    def ring(self) -> None:
        """Let whoever waits go on: a Run does before this returns. Where nobody waits nothing happens."""
        go_on, self.go_on = self.go_on, None
        if go_on is not None:
            go_on()

    def __await__(self) -> Generator[Any, None, None]:
        """Wait until it is rung the next time."""
        if _is_in_run:
            yield self
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not future.done():
                future.set_result(None)

        self.go_on = wake
        try:
            yield from future
        finally:
            self.go_on = None

    async def rings_within(self, seconds: float) -> bool:
        """Wait until it is rung the next time; False where that takes longer than `seconds`."""
        is_late = False

        def give_up() -> None:
            nonlocal is_late
            is_late = self.go_on is not None  # unless it has been rung just now
            self.ring()

        timer = asyncio.get_running_loop().call_later(seconds, give_up)
        try:
            await self
        finally:
            timer.cancel()
        return not is_late


@final
class Run:
    """A coroutine on its way; `begin` carries it to its first wait.

    What it raises comes out of the call that carries it on, but for CancelledError, which is its end.
    """

    __slots__ = ("_bell", "_is_moving", "_steps", "_task")

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._bell: Bell | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_moving = False

    def begin(self) -> None:
        """Carry it on to its first wait, or to its end."""
        self._move()

    def cancel(self) -> None:
        """Have CancelledError raised in it where it waits; does nothing at its end."""
        if self._task is not None:
            self._task.cancel()
        elif self._is_moving:
            asyncio.get_running_loop().call_soon(self.cancel)
        elif self._bell is not None:
            self._bell.go_on = None
            self._move(asyncio.CancelledError())

    def _move(self, error: BaseException | None = None) -> None:
        global _is_in_run  # asyncio's own note of it, current_task, costs more than all the rest
        steps = self._steps
        was_in_run = _is_in_run
        self._bell, self._is_moving, _is_in_run = None, True, True
        try:
            awaited = steps.send(None) if error is None else steps.throw(error)
        except (StopIteration, asyncio.CancelledError):
            return
        finally:
            self._is_moving, _is_in_run = False, was_in_run
        if type(awaited) is Bell:
            self._bell = awaited
            awaited.go_on = self._move
        else:
            self._task = asyncio.get_running_loop().create_task(_Rest(steps, awaited))


async def in_task() -> None:
    """Go on as a task of asyncio, which `asyncio.timeout` and its like need."""
    if asyncio.current_task() is None:
        await asyncio.sleep(0)


class _Rest(Coroutine[Any, Any, None]):
    """A coroutine that has been begun already, and what it waits for; a task takes it as a fresh one."""

    __slots__ = ("_begun", "_first", "_steps")

    def __init__(self, steps: Steps, first: object) -> None:
        self._steps = steps
        self._first = first
        self._begun = False

    def send(self, value: Any) -> Any:
        if self._begun:
            return self._steps.send(value)
        self._begun = True
        return self._first

    def throw(self, *error: Any) -> Any:
        self._begun = True
        return self._steps.throw(*error)

    def close(self) -> None:
        self._steps.close()

    def __await__(self) -> Generator[Any, Any, None]:
        raise TypeError("a task takes it as it is")
