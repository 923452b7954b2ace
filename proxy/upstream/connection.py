"""One connection to the server: sends a request, reads its answer, and is fit for another one or closed.

A connection never expects bytes that it has not asked for. Whatever arrives while no request is under way
would become the answer to the next one, some other patient's: it closes the connection instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any, Protocol, cast

from ..errors import BadRequest, ProxyError, UpstreamProtocolError, UpstreamTimeout, UpstreamUnreachable
from ..stepping import Bell
from .body import Answer
from .probing import Road, end_is_signed, input_of
from .reading import ResponseReader
from .timeouts import Timeouts
from .writing import CHUNKED, LAST_CHUNK, NO_BODY, RequestMessage


class StaleConnectionError(UpstreamUnreachable):
    """A reused connection ended before a byte of the answer and before the request's body was touched."""


class Keeper(Protocol):
    """Who keeps connections between exchanges."""

    def put_back(self, connection: Connection) -> None:
        """Take a connection whose exchange is complete and that may carry another."""

    def forget(self, connection: Connection) -> None:
        """Take note that a connection is gone."""


class Arrival:
    """The head of an answer, or why there is none: one waits for it."""

    __slots__ = ("_answer", "_bell", "_error", "is_there")

    def __init__(self) -> None:
        self._answer: Answer | None = None
        self._error: BaseException | None = None
        self._bell = Bell()
        self.is_there = False

    def come(self, answer: Answer | None, error: BaseException | None = None) -> None:
        """Whoever waits may go on before this returns."""
        if not self.is_there:
            self._answer, self._error, self.is_there = answer, error, True
            self._bell.ring()

    def __await__(self) -> Generator[Any, None, Answer]:
        """The answer; raises what came in its place."""
        if not self.is_there:
            yield from self._bell.__await__()
        if self._answer is None:
            raise self._error or asyncio.CancelledError
        return self._answer


class Connection(asyncio.Protocol):
    """A connection to the server that errors call `where`."""

    def __init__(self, where: str, timeouts: Timeouts, keeper: Keeper) -> None:
        self.closed = False
        self.idle_since = self.opened_at = 0.0
        self.road: Road | None = None
        self.idle_limit = timeouts.idle
        self._where = where
        self._timeouts = timeouts
        self._keeper = keeper
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._has_input: Callable[[], bool] | None = None
        self._used = False
        # The exchange under way; `_arrival` is its identity as well.
        self._arrival: Arrival | None = None
        self._reader: ResponseReader | None = None
        self._answer: Answer | None = None
        self._answer_begun = False
        self._body_begun = False
        self._arrives_whole = False
        self._request_done = True
        # What is waited for, and since when.
        self._continued: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._client_is_next = False
        self._reading_paused = False
        self._end_is_proper = False
        self._since = 0.0
        self._unsent = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_quiet(self) -> bool:
        """Whether it is open and nothing has arrived on it, not even unseen by the event loop."""
        return not (self.closed or self._has_input is None or self._has_input())

    async def exchange(self, message: RequestMessage, body: AsyncIterator[bytes]) -> Answer:
        """Send a request and wait for the head of its answer; `body` is no longer read when this ends.

        Raises what `body` raises, BadRequest where it is not as long as announced, StaleConnectionError,
        UpstreamUnreachable, UpstreamTimeout or UpstreamProtocolError. After an error the connection is
        closed.
        """
        arrival = self._begin(message)
        try:
            return await self._upload_until(arrival, message, body)
        except BaseException:
            self._give_up(arrival)
            raise

    async def exchange_whole(self, message: RequestMessage, body: bytes) -> Answer:
        """Send a request whose body is at hand and wait for its answer, for all of it where it is small.

        Raises as `exchange` does.
        """
        if len(body) != message.length:
            self.abort()
            raise BadRequest("The request's body is not as long as its Content-Length.")
        arrival = self._begin(message, body)
        self._arrives_whole = self._request_done = True
        self._body_begun = message.framing is not NO_BODY
        try:
            return await arrival
        except BaseException:
            self._give_up(arrival)
            raise

    def _give_up(self, arrival: Arrival) -> None:
        # An answer that was complete at once has given the connection back: it may be another's by now.
        if self._arrival is arrival:
            self.abort()

    def _begin(self, message: RequestMessage, body: bytes = b"") -> Arrival:
        if self.closed or self._transport is None:
            raise self._broken()
        arrival = self._arrival = Arrival()
        self._reader = ResponseReader(message.method, self._where)
        self._request_done = message.framing is NO_BODY
        self._answer_begun = self._body_begun = self._arrives_whole = False
        self._since = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeouts.read, self._check_silence)
        if body:
            self._transport.writelines((message.head, body))
        else:
            self._transport.write(message.head)
        return arrival

    def abort(self) -> None:
        """Close the connection at once; whatever was under way on it is never completed."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def pause_reading(self) -> None:
        """Take no more bytes from the network: the reader of the answer is behind."""
        if not self.closed and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on taking bytes from the network."""
        if self._reading_paused and not self.closed and self._transport is not None:
            self._since = self._loop.time()
            self._transport.resume_reading()
        self._reading_paused = False

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start with a transport on which TLS, if any, is done."""
        # TCP and TLS have such a one; uvloop's is no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        if self.closed:
            self._transport.abort()
        else:
            self._has_input = input_of(transport.get_extra_info("socket").fileno())
            self.road, self.opened_at = Road.of(transport), self._loop.time()

    def data_received(self, data: bytes) -> None:
        """Read the answer; without a request under way there is none, and the connection is closed."""
        reader = self._reader
        if reader is None:
            self.abort()
            return
        if not reader.is_inside_head:  # A head has its time from its first byte on, however it drips.
            self._since = self._loop.time()
        self._answer_begun = True
        try:
            piece = reader.feed(data)
        except UpstreamProtocolError as error:
            self._fail(error)
            return
        answer, arrival = self._answer, self._arrival
        if answer is None:
            if reader.head is None:
                if reader.continued and self._continued is not None and not self._continued.done():
                    self._continued.set_result(None)
                return
            answer = self._answer = Answer(reader.head, reader.length, self)
        if piece:
            answer.feed(piece)
        if reader.complete:
            self._finish(reader, answer)
        elif self._arrives_whole and answer.is_small:
            return
        # Last of all, since the connection may serve another request before one of these returns.
        if arrival is not None and not arrival.is_there:
            arrival.come(answer)
        else:
            answer.tell()

    def eof_received(self) -> None:
        """Note the server's end of the connection, which the transport closes then."""
        self.closed = True
        self._end_is_proper = self._transport is not None and end_is_signed(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """End what was under way, and let the connection be forgotten."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        reader, answer = self._reader, self._answer
        self.resume_writing()
        self._keeper.forget(self)
        if reader is None:
            return
        if answer is not None and exc is None and self._end_is_proper and reader.feed_eof():
            self._finish(reader, answer)
            answer.tell()
        else:
            self._fail(self._broken(exc))

    def pause_writing(self) -> None:
        """Let the upload wait: the server takes the request slower than the client sends it."""
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let the upload go on."""
        self._since = self._loop.time()
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    # The upload.

    async def _upload_until(
        self, arrival: Arrival, message: RequestMessage, body: AsyncIterator[bytes]
    ) -> Answer:
        """Send the body until the answer is there: an early one (a 401, a 413) ends the upload."""

        def pass_on(upload: asyncio.Task[None]) -> None:
            error = None if upload.cancelled() else upload.exception()
            if upload.cancelled() or error is not None:
                arrival.come(None, error)

        upload = self._loop.create_task(self._upload(message, body))
        upload.add_done_callback(pass_on)
        try:
            return await arrival
        finally:
            if not upload.done():
                upload.cancel()
                await asyncio.wait({upload})

    async def _upload(self, message: RequestMessage, body: AsyncIterator[bytes]) -> None:
        if message.waits_for_continue and self._reader is not None and not self._reader.continued:
            self._continued = self._loop.create_future()
            await asyncio.wait({self._continued}, timeout=self._timeouts.expect)
        chunked = message.framing is CHUNKED
        remaining = message.length
        self._request_done = not chunked and not remaining
        self._body_begun = self._client_is_next = True
        try:
            async for piece in body:
                if not piece:
                    continue
                remaining -= len(piece)
                if not chunked and remaining < 0:
                    raise BadRequest("The request's body is longer than its Content-Length.")
                self._write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                # A body of known length is complete with its last byte: the client may tell its end later.
                self._request_done = not chunked and not remaining
                if self._drained is not None:
                    self._client_is_next = False
                    await self._drained
                    self._client_is_next = True
        finally:
            self._client_is_next = False
            self._since = self._loop.time()
        if chunked:
            self._write(LAST_CHUNK)
        elif remaining:
            raise BadRequest("The request's body is shorter than its Content-Length.")
        self._request_done = True

    def _write(self, data: bytes) -> None:
        if not self.closed and self._transport is not None:
            self._transport.write(data)

    # The end.

    def _finish(self, reader: ResponseReader, answer: Answer) -> None:
        """Make the answer complete, and the connection free for another request if it is fit for one."""
        self._arrival = self._reader = self._answer = None
        self.idle_since = self._since
        self.idle_limit = min(self._timeouts.idle, self.opened_at + self._timeouts.life - self._since)
        if reader.idle_limit is not None:
            # A second less than the server's, for the time that the network takes.
            self.idle_limit = min(self.idle_limit, reader.idle_limit - 1)
        answer.finish()
        self._used = True
        if (
            reader.persistent
            and self._request_done
            and self.idle_limit > 0
            and not self.closed
            and self._transport is not None
            and not self._transport.get_write_buffer_size()
        ):
            self._keeper.put_back(self)
        else:
            self.abort()

    def _fail(self, error: ProxyError) -> None:
        answer, self._answer, self._reader = self._answer, None, None
        arrival = self._arrival
        self.abort()
        if answer is not None:
            answer.fail(error)
        if arrival is not None and not arrival.is_there:
            arrival.come(answer, error)
        elif answer is not None:
            answer.tell()

    def _broken(self, cause: Exception | None = None) -> UpstreamUnreachable:
        what = "broke off its answer" if self._answer_begun else "closed the connection without an answer"
        reason = f" ({cause.strerror or cause})" if isinstance(cause, OSError) else ""
        stale = self._used and not self._answer_begun and not self._body_begun
        error = (StaleConnectionError if stale else UpstreamUnreachable)(f"{self._where} {what}{reason}.")
        error.__cause__ = cause
        return error

    def _check_silence(self) -> None:
        """Give the exchange up after too long a silence; one timer serves many exchanges."""
        self._timer = None
        if self._reader is None or self.closed or self._transport is None:
            return
        now = self._loop.time()
        unsent = self._transport.get_write_buffer_size()
        # Silence is the server's only while it is its turn, and a request that it takes slowly is none.
        if self._reading_paused or self._client_is_next or (unsent and unsent != self._unsent):
            self._since = now
        self._unsent = unsent
        remaining = self._since + self._timeouts.read - now
        if remaining > 0:
            self._timer = self._loop.call_later(remaining, self._check_silence)
            return
        what = "did not answer"
        if self._answer_begun:
            what = (
                "did not end the head of its answer"
                if self._reader.is_inside_head
                else "went silent in its answer"
            )
        self._fail(UpstreamTimeout(f"{self._where} {what} for {self._timeouts.read:g} s."))
