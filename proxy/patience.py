"""Waiting for a turn before a server that asks for patience."""

from __future__ import annotations

import asyncio
import math

from .errors import ProxyUnavailable
from .pacing import Pacing, Patience, Turn
from .rules.retries import SPREAD


async def turn_of(pacing: Pacing, patience: Patience) -> Turn:
    """Wait until a request may be sent; ProxyUnavailable where that takes longer than its patience."""
    free = pacing.free_turn()
    if free is not None:
        return free
    if pacing.longest is not None:
        try:
            await _wait(pacing, patience)
        except BaseException:
            pacing.call_next()  # It may have been called, and the turn must not be lost.
            raise
    return pacing.begin()


async def _wait(pacing: Pacing, patience: Patience) -> None:
    is_called = False
    while True:
        if pacing.pause_seconds:
            await _pause(pacing, patience)
        elif pacing.pace.has_room and (is_called or not pacing.queue):
            return
        else:
            await _room(pacing, patience)
            is_called = True


async def _pause(pacing: Pacing, patience: Patience) -> None:
    pause = pacing.pause_seconds
    if pause > patience.seconds:
        raise _impatient(pause)
    seconds = min(pause * (1 + SPREAD * pacing.spread()), patience.seconds)
    patience.seconds -= seconds
    await pacing.clock.sleep(seconds)


async def _room(pacing: Pacing, patience: Patience) -> None:
    begun = pacing.clock.time()
    called = asyncio.get_running_loop().create_future()
    pacing.queue.append(called)
    bell = asyncio.ensure_future(pacing.clock.sleep(patience.seconds))
    try:
        await asyncio.wait({called, bell}, return_when=asyncio.FIRST_COMPLETED)
        if not called.done():
            raise _impatient(1.0)
    finally:
        bell.cancel()
        if not called.done():
            pacing.queue.remove(called)
    patience.seconds = max(0.0, patience.seconds - max(0.0, pacing.clock.time() - begun))


def _impatient(seconds: float) -> ProxyUnavailable:
    return ProxyUnavailable(
        "The server asks for patience, and this request has waited for as long as retry_wait allows.",
        hint="Send fewer requests at a time, or set retry_wait to more seconds.",
        retry_after=max(1, math.ceil(seconds)),
    )
