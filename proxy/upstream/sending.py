"""A request on its way to the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from time import perf_counter

from .body import Answer
from .connection import Arrival, Connection
from .writing import RequestMessage


class Sending:
    """A request from the call that sends it to its answer."""

    __slots__ = ("_started", "arrival", "body", "message")

    arrival: Arrival
    """Its answer's, once `go` has been called."""

    def __init__(self, message: RequestMessage, body: AsyncIterator[bytes] | bytes | None) -> None:
        self.message = message
        self.body = body
        self._started = perf_counter()

    def go(self, connection: Connection) -> None:
        """Begin on a connection; only for a request without a body."""
        self.arrival = connection.start_whole(self.message, b"")

    def time(self, answer: Answer) -> None:
        """Note how long its answer was waited for."""
        answer.waited = answer.begun_at - self._started
