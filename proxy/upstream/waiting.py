"""What has to be waited for: the head of an answer, its body, and a server that takes the request's body.

The values that are waited for never wait themselves; each calls who does, by its `go_on`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from ..errors import BadRequest
from ..stepping import Bell
from .body import HIGH_WATER, Answer
from .connection import Arrival, Connection
from .writing import CHUNKED, LAST_CHUNK, RequestMessage


async def exchange_whole(connection: Connection, message: RequestMessage, body: bytes) -> Answer:
    """Send a request whose body is at hand and wait for its answer, for all of it where it is small.

    Raises as `exchange` does.
    """
    return await answered(connection.start_whole(message, body))


async def answered(arrival: Arrival) -> Answer:
    """The answer to a request that has been sent whole."""
    try:
        return await _come(arrival)
    except BaseException:
        arrival.give_up()
        raise


async def exchange(connection: Connection, message: RequestMessage, body: AsyncIterator[bytes]) -> Answer:
    """Send a request and wait for the head of its answer; `body` is no longer read when this ends.

    Raises what `body` raises, BadRequest where it is not as long as announced, StaleConnectionError,
    UpstreamUnreachable, UpstreamTimeout or UpstreamProtocolError. After an error the connection is closed.
    """
    arrival = connection.start(message)
    try:
        return await _upload_until(connection, arrival, message, body)
    except BaseException:
        arrival.give_up()
        raise


async def chunks(answer: Answer) -> AsyncIterator[bytes]:
    """The body of an answer in the pieces in which it came; raises what `Answer.take_piece` does."""
    news = Bell()
    answer.go_on = news.ring
    while True:
        piece = answer.take_piece()
        if piece:
            yield piece
        elif answer.is_complete:
            return
        else:
            await news


async def small_body(answer: Answer, limit: int) -> bytes | None:
    """The whole body in one piece where it is small; None where it has to be read by `chunks`.

    Small is a body of a known length up to `limit`, which is waited for, or one of any kind that has arrived already.
    Raises what `Answer.take_piece` does.
    """
    if not answer.is_complete:
        if answer.length is None or answer.length > min(limit, HIGH_WATER):
            return None
        news = Bell()
        answer.go_on = news.ring
        while not answer.is_complete:
            answer.check()
            await news
    return answer.take_whole(limit)


async def _come(arrival: Arrival) -> Answer:
    if not arrival.is_there:
        bell = Bell()
        arrival.go_on = bell.ring
        await bell
    return arrival.taken()


async def _upload_until(
    connection: Connection, arrival: Arrival, message: RequestMessage, body: AsyncIterator[bytes]
) -> Answer:
    """Send the body until the answer is there: an early one (a 401, a 413) ends the upload."""

    def pass_on(upload: asyncio.Task[None]) -> None:
        error = None if upload.cancelled() else upload.exception()
        if upload.cancelled() or error is not None:
            arrival.come(None, error)

    upload = asyncio.get_running_loop().create_task(_upload(connection, message, body))
    upload.add_done_callback(pass_on)
    try:
        return await _come(arrival)
    finally:
        if not upload.done():
            upload.cancel()
            await asyncio.wait({upload})


async def _upload(connection: Connection, message: RequestMessage, body: AsyncIterator[bytes]) -> None:
    bell = Bell()
    if message.waits_for_continue and connection.waits_for_continue(bell.ring):
        await bell.rings_within(connection.timeouts.expect)
    chunked = message.framing is CHUNKED
    remaining = message.length
    connection.begin_body()
    connection.request_done = not chunked and not remaining
    try:
        async for piece in body:
            if not piece:
                continue
            remaining -= len(piece)
            if not chunked and remaining < 0:
                raise BadRequest("The request's body is longer than its Content-Length.")
            connection.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            # A body of known length is complete with its last byte: the client may tell its end later.
            connection.request_done = not chunked and not remaining
            if connection.is_behind(bell.ring):
                connection.client_is_next = False
                await bell
                connection.client_is_next = True
    finally:
        connection.end_body()
    if chunked:
        connection.write(LAST_CHUNK)
    elif remaining:
        raise BadRequest("The request's body is shorter than its Content-Length.")
    connection.request_done = True
