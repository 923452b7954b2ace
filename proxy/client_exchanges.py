"""The exchanges of a tool's connection that have to wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .client import ClientAnswer, ClientRequest
from .client_connection import ClientConnection
from .forwarding import forward
from .passage import Passage
from .stepping import Bell, Run


def walk(connection: ClientConnection, passage: Passage) -> Run:
    """What carries on the exchange of a plain request."""
    return Run(_answer_plain(connection, passage))


async def answer_parsed(
    connection: ClientConnection, request: ClientRequest, body_is_whole: Callable[[], bool]
) -> bool:
    """Answer a request that the parser has made of bytes; whether it was answered and another may follow."""
    connection.begin_parsed(body_is_whole)
    connection.begin_exchange()
    try:
        answer = await _answer(connection, connection.passage(request))
    finally:
        connection.end_parsed()
    return answer is not None and answer.keep_alive


async def shut_down(connection: ClientConnection, seconds: float) -> None:
    """Let a running exchange end within `seconds`, then cut it and the connection."""
    if connection.is_answering_plainly:
        ended = Bell()
        connection.on_end = ended.ring
        await ended.rings_within(seconds)
    connection.cancel_plain()
    parsed = connection.shutdown_parser(seconds)
    if parsed is not None:
        await parsed
    connection.finish()


async def _answer_plain(connection: ClientConnection, passage: Passage) -> None:
    answer: ClientAnswer | None = None
    try:
        answer = await _answer(connection, passage)
    finally:
        connection.answered(answer)


async def _answer(connection: ClientConnection, passage: Passage) -> ClientAnswer | None:
    """Run an exchange that has begun; None where the connection was cut."""
    try:
        await forward(passage)
    except ConnectionError:
        connection.abort()
        return None
    except asyncio.CancelledError:
        connection.abort()
        raise
    except Exception as fault:  # noqa: BLE001  (the last place at which the tool can still be told)
        answer = connection.fail(passage.request, fault)
        if answer is not None and connection.writing_paused:
            await connection.drained()
        return answer
    finally:
        connection.end_exchange()
    return passage.client
