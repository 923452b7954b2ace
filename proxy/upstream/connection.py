"""One connection to the server: sends a request, reads its answer, and is fit for another one or closed.

A connection never expects bytes that it has not asked for. Whatever arrives while no request is under way
would become the answer to the next one, some other patient's: it closes the connection instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from ..errors import BadRequest, ProxyError, UpstreamProtocolError, UpstreamTimeout, UpstreamUnreachable
from .body import Answer
from .probing import Road, end_is_signed, input_of
from .reading import ResponseReader
from .stale import StaleConnectionError
from .timeouts import Timeouts
from .writing import NO_BODY, RequestMessage


class Keeper(Protocol):
    """Who keeps connections between exchanges."""

    def keep(self, connection: Connection) -> None:
        """Take a connection whose exchange is complete and that may carry another."""


class Arrival:
    """The head of an answer, or why there is none: one waits for it."""

    __slots__ = ("_connection", "_error", "answer", "go_on", "is_there")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.answer: Answer | None = None
        """None as long as there is none, and where something else came in its place."""
        self._error: BaseException | None = None
        self.is_there = False
        self.go_on: Callable[[], object] | None = None
        """Called when it comes; for who waits to set."""

    def come(self, answer: Answer | None, error: BaseException | None = None) -> None:
        """Whoever waits may go on before this returns."""
        if not self.is_there:
            self.answer, self._error, self.is_there = answer, error, True
            go_on, self.go_on = self.go_on, None
            if go_on is not None:
                go_on()

    def give_up(self) -> None:
        """Close the connection that it would come on, since nobody waits for it any more."""
        self._connection.give_up(self)

    def taken(self) -> Answer:
        """The answer that has come; raises what came in its place."""
        if self.answer is None:
            raise self._error or asyncio.CancelledError
        return self.answer


class Connection:
    """A connection to the server that errors call `where`; to the event loop an asyncio.Protocol.

    An exchange ends with its answer, or `give_up`. Whoever waits in between is called.
    """

    def __init__(
        self, where: str, timeouts: Timeouts, keeper: Keeper, forget: Callable[[Connection], None]
    ) -> None:
        """Start unopened; `forget` is called when it is gone."""
        self.closed = False
        self.idle_since = self.opened_at = 0.0
        self.road: Road | None = None
        self.idle_limit = timeouts.idle
        self.timeouts = timeouts
        self.request_done = True
        """Whether the server has got all of the request; its body's sender says so."""
        self.client_is_next = False
        """Whether the request goes on with what the client has to send; its body's sender says so."""
        self._where = where
        self._keeper = keeper
        self._forget = forget
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
        # What is waited for, and since when.
        self._on_continue: Callable[[], object] | None = None
        self._on_drained: Callable[[], object] | None = None
        self._writing_paused = False
        self._reading_paused = False
        self._end_is_proper = False
        self._since = 0.0
        self._unsent = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_quiet(self) -> bool:
        """Whether it is open and nothing has arrived on it, not even unseen by the event loop."""
        return not (self.closed or self._has_input is None or self._has_input())

    def start(self, message: RequestMessage) -> Arrival:
        """Send a request's head; its body follows by `write`.

        Raises StaleConnectionError or UpstreamUnreachable where the connection has ended.
        """
        return self._begin(message, b"")

    def start_whole(self, message: RequestMessage, body: bytes) -> Arrival:
        """Send a request whose body is at hand; of a small answer all has come when it comes.

        Raises as `start` does, and BadRequest where the body is not as long as announced.
        """
        if len(body) != message.length:
            self.abort()
            raise BadRequest("The request's body is not as long as its Content-Length.")
        arrival = self._begin(message, body)
        self._arrives_whole = self.request_done = True
        self._body_begun = message.framing is not NO_BODY
        return arrival

    def rest(self) -> None:
        """Be free for a request, without having served one."""
        self.idle_since = self._loop.time()
        self._used = True  # it may end unseen, as one that has

    def give_up(self, arrival: Arrival) -> None:
        """Close the connection, whose answer nobody waits for any more.

        One that was complete at once has given the connection back: it may be another's by now.
        """
        if self._arrival is arrival:
            self.abort()

    def _begin(self, message: RequestMessage, body: bytes) -> Arrival:
        if self.closed or self._transport is None:
            raise self._broken()
        arrival = self._arrival = Arrival(self)
        self._reader = ResponseReader(message.method, self._where)
        self.request_done = message.framing is NO_BODY
        self._answer_begun = self._body_begun = self._arrives_whole = False
        self._on_continue = self._on_drained = None
        self._since = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self.timeouts.read, self._check_silence)
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
                if reader.continued and self._on_continue is not None:
                    self._on_continue()
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
        self._forget(self)
        if reader is None:
            return
        if answer is not None and exc is None and self._end_is_proper and reader.feed_eof():
            self._finish(reader, answer)
            answer.tell()
        else:
            self._fail(self._broken(exc))

    def pause_writing(self) -> None:
        """Let the upload wait: the server takes the request slower than the client sends it."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """Let the upload go on."""
        self._since = self._loop.time()
        self._writing_paused = False
        if self._on_drained is not None:
            self._on_drained()

    # The upload.

    def waits_for_continue(self, go_on: Callable[[], object]) -> bool:
        """Whether no 100 (Continue) has come yet; `go_on` is called when one does."""
        self._on_continue = go_on
        return self._reader is not None and not self._reader.continued

    def is_behind(self, go_on: Callable[[], object]) -> bool:
        """Whether the server takes the body slower than it comes; `go_on` is called when it has caught up."""
        self._on_drained = go_on
        return self._writing_paused

    def begin_body(self) -> None:
        """The body is about to be read: what of it has gone cannot be had again."""
        self._body_begun = self.client_is_next = True

    def end_body(self) -> None:
        """The body has been read, or is read no further."""
        self.client_is_next = False
        self._since = self._loop.time()

    def write(self, data: bytes) -> None:
        """Send bytes of a body, unless the connection has ended."""
        if not self.closed and self._transport is not None:
            self._transport.write(data)

    # The end.

    def _finish(self, reader: ResponseReader, answer: Answer) -> None:
        """Make the answer complete, and the connection free for another request if it is fit for one."""
        self._arrival = self._reader = self._answer = None
        self.idle_since = self._since
        self.idle_limit = min(self.timeouts.idle, self.opened_at + self.timeouts.life - self._since)
        if reader.idle_limit is not None:
            # A second less than the server's, for the time that the network takes.
            self.idle_limit = min(self.idle_limit, reader.idle_limit - 1)
        answer.finish()
        self._used = True
        if (
            reader.persistent
            and self.request_done
            and self.idle_limit > 0
            and not self.closed
            and self._transport is not None
            and not self._transport.get_write_buffer_size()
        ):
            self._keeper.keep(self)
        else:
            self.abort()

    def _fail(self, error: ProxyError) -> None:
        answer, self._answer, self._reader = self._answer, None, None
        arrival, self._arrival = self._arrival, None
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
        if self._reading_paused or self.client_is_next or (unsent and unsent != self._unsent):
            self._since = now
        self._unsent = unsent
        remaining = self._since + self.timeouts.read - now
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
        self._fail(UpstreamTimeout(f"{self._where} {what} for {self.timeouts.read:g} s."))
