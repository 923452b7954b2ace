"""A request on its way to the server, and how it begins."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from time import perf_counter

from ..model import RequestHead
from .body import Answer
from .connection import Arrival
from .idle import IdleConnections
from .writing import RequestMessage, request_message


class Beginnings:
    """Begins to send requests to one server, where a connection to it is free.

    One that cannot be sent twice goes out on a connection that has been idle for less than `fresh` seconds.
    """

    __slots__ = ("_fresh", "_idle")

    def __init__(self, idle: IdleConnections, fresh: float) -> None:
        self._idle = idle
        self._fresh = fresh

    def begin(self, head: RequestHead, body: bytes | None = None) -> Sending | None:
        """Send a request at once, with all of its body; None where no connection is free for it, and nothing is sent.

        Raises ValueError, BadRequest and UpstreamUnreachable as `Upstream.send` does.
        """
        sending = Sending(request_message(head, body_exists=body is not None), body)
        connection = self._idle.take(self.max_idle(sending.message))
        if connection is None:
            return None
        sending.arrival = connection.start_whole(sending.message, body or b"")
        return sending

    def max_idle(self, message: RequestMessage) -> float:
        """Seconds for which the connection of a request may have been idle."""
        return math.inf if message.idempotent else self._fresh


class Sending:
    """A request from the call that sends it to its answer."""

    __slots__ = ("_started", "arrival", "body", "message")

    arrival: Arrival
    """Its answer's, where it was sent by `Beginnings.begin`."""

    def __init__(self, message: RequestMessage, body: AsyncIterator[bytes] | bytes | None) -> None:
        self.message = message
        self.body = body
        self._started = perf_counter()

    def time(self, answer: Answer) -> None:
        """Note how long its answer was waited for."""
        answer.waited = answer.begun_at - self._started
