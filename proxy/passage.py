"""One exchange on its way from the tool to the server and back; it never waits.

Almost every exchange waits for nothing but its answer, and is carried here from its request to its end: its body, if it
has one, has come, credentials are held, a connection is free, a small answer comes whole. Where anything else has to be
waited for, `forwarding` takes it over from where it is. Each step stands once, whoever comes to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from time import perf_counter
from typing import Final, Protocol

from .auth import ASK
from .client import SMALL, ClientAnswer, ClientRequest
from .errors import ProxyError
from .exchange_log import log_exchange
from .model import Credentials, FinishedExchange, ResponseHead
from .pacing import Turn
from .rules.bodies import BodyPath
from .rules.correlation import identified, new_id
from .rules.exchange import FORBIDDEN, UNAUTHORIZED, Exchange, failure
from .rules.retries import PATIENCE_STATUSES
from .rules.storage import exchange_of
from .sites import Site
from .upstream import Answer, Sending

CLIENT_LEFT: Final = 499
"""What the log shows as the status of an answer that nobody waited for: nginx's number, never sent."""

FEW: Final = 4
"""Pieces of a decoded body that are held to tell its length; each has at most 256 KiB."""

_MAY_BE_REPEATED: Final = PATIENCE_STATUSES | {UNAUTHORIZED, FORBIDDEN}


class Waiter(Protocol):
    """Who has begun an exchange and is called when it goes on."""

    def has_ended(self) -> None:
        """The exchange is over."""

    def has_to_wait(self) -> None:
        """The exchange goes on with something that has to be waited for."""

    def has_failed(self, fault: Exception) -> None:
        """The exchange is over by a fault of the proxy."""


class Passage:
    """One exchange, from its request's head on; `finish` belongs to each."""

    __slots__ = (
        "_request_id",
        "_shown_id",
        "_started",
        "_waiter",
        "answer",
        "client",
        "credentials",
        "exchange",
        "failed",
        "is_written",
        "path",
        "place",
        "request",
        "response",
        "rest",
        "sending",
        "site",
        "turn",
        "waited",
    )

    def __init__(self, request: ClientRequest, site: Site) -> None:
        self._started = perf_counter()
        head = request.head
        self._request_id, self._shown_id = identified(head.fields, new_id())
        self._waiter: Waiter | None = None
        self.request = request
        self.client = ClientAnswer(request)
        self.site = site
        self.place = self.site
        """Where it goes, once there is an `exchange`: the site, or a storage account beside it."""
        self.exchange: Exchange | None = None
        # What has begun, where it is on its way to the server.
        self.credentials: Credentials | None = None
        self.turn: Turn | None = None
        self.sending: Sending | None = None
        # What has come of it.
        self.answer: Answer | None = None
        self.response: ResponseHead | None = None
        self.path: BodyPath | None = None
        self.rest: Iterator[bytes] | None = None
        """The pieces of a body that has come, where they are too many to be held."""
        self.is_written = False
        """Whether the tool has got all of the answer, or will as soon as it takes it."""
        self.waited: float | None = None
        self.failed: ProxyError | None = None
        site.running.begin()

    def begin(self, waiter: Waiter) -> bool:
        """Send the request, where nothing has to be waited for, be it for its body; otherwise nothing is sent.

        `waiter` is called when the exchange goes on.
        """
        try:
            has_begun = self._begin()
        except Exception:  # noqa: BLE001  (who waits comes to it as well, and tells it)
            return False
        if has_begun and self.sending is not None:
            self._waiter = waiter
            self.sending.arrival.go_on = self._arrived
        return has_begun

    def watch(self) -> None:
        """Let who follows exchanges follow this one."""
        if self.site.watched is not None:
            self.site = self.site.watched(self.request.head)

    def address(self) -> Exchange:
        """The decisions of this exchange; raises RequestRefused where nothing may be sent."""
        exchange = self.exchange = exchange_of(self.request.head, self.site.rules, self._request_id)
        self.place = self.site.of(exchange)
        return exchange

    def respond(self) -> bool:
        """Write the answer where it is small and has come whole; otherwise nothing but its decisions are made.

        Raises ProxyError where it cannot be passed on, and ConnectionError where the tool has left.
        """
        exchange, answer, response = self.exchange, self.answer, self.response
        assert exchange is not None  # noqa: S101  (there is no answer without)
        assert answer is not None  # noqa: S101
        if response is None:
            response, self.path = exchange.client_response(answer.head)
            self.response = response
        if exchange.body_follows(answer.head):
            body = answer.take_whole(SMALL) if self.rest is None else None
            return body is not None and self.send_whole(body)
        self.client.send(response, b"", body_exists=False)
        self.is_written = True
        return True

    def send_whole(self, body: bytes) -> bool:
        """Write the answer, whose body is at hand; False where that is decoded to more than is held: `rest` is it then.

        Raises as `respond` does.
        """
        response, path = self.response, self.path
        assert response is not None  # noqa: S101  (`respond` has decided it)
        if path is not None and not path.is_direct:
            pieces = path.pieces(body)
            held = list(islice(pieces, FEW + 1))
            if len(held) > FEW:
                self.rest = chain(held, pieces)
                return False
            body = held[0] if len(held) == 1 else b"".join(held)
        elif path is not None:
            body = path.whole(body)
        self.client.send(response, body)
        self.is_written = True
        return True

    def fail(self, error: ProxyError) -> None:
        """Tell the tool what went wrong; an answer that has begun is cut, never completed.

        Raises ConnectionError where the tool has left.
        """
        self.failed = error
        if self.client.sent_head is not None:
            self.client.abort()
            return
        if error.ends_connection:
            self.client.close()
        head = self.request.head
        attempts = self.exchange.attempts if self.exchange is not None else 0
        self.client.send(
            *failure(error, head, self.site.rules.listener, attempts, self._request_id),
            body_exists=head.method != "HEAD",
        )
        self.is_written = True

    def finish(self) -> None:
        """Log and count it."""
        exchange, client, site = self.exchange, self.client, self.site
        # By place, not by name, which costs five times as much.
        finished = FinishedExchange(
            exchange.classified if exchange is not None else None,
            client.sent_head.status if client.sent_head is not None else CLIENT_LEFT,
            self.request.received_bytes,
            client.sent_bytes,
            perf_counter() - self._started,
            self.waited,
            exchange.attempts if exchange is not None else 0,
            self._shown_id,
            self.failed,
            exchange.account if exchange is not None else "",
        )
        site.running.end()
        log_exchange(finished, finished.account or site.rules.authority)
        site.observer.finished(finished)

    def _begin(self) -> bool:
        head = self.request.head
        body = self.request.whole_body if head.body_exists else None
        if (body is None and head.body_exists) or self.site.watched is not None:
            return False
        exchange = exchange_of(head, self.site.rules, self._request_id)
        place = self.site.of(exchange)
        credentials = place.held() if exchange.needs_credentials else None
        if credentials is ASK:
            return False
        exchange.check(credentials)
        path = exchange.request_path()
        if path is not None and not path.is_direct:
            return False
        turn = place.pacing.free_turn()
        if turn is None:
            return False
        sending: Sending | None = None
        try:
            if body is not None and path is not None:
                body = path.whole(body)
            if exchange.reads_body:
                exchange.check_body(body or b"")
            length = None if body is None else len(body)
            sending = place.upstream.begin(exchange.upstream_request(credentials, length=length), body)
        finally:
            if sending is None:
                turn.end()
        if sending is None:
            return False
        self.place, self.exchange, self.credentials = place, exchange, credentials
        self.turn, self.sending = turn, sending
        return True

    def _arrived(self) -> None:
        """The answer has come, or what came in its place."""
        waiter = self._waiter
        assert waiter is not None  # noqa: S101  (it is set where this is)
        has_to_wait, fault = False, None
        try:
            has_to_wait = not self._goes_straight_on() or self.request.outlet.writing_paused
        except ConnectionError:
            self.client.abort()
        except Exception as error:  # noqa: BLE001  (whoever began is to tell of it)
            fault = error
        if has_to_wait:
            waiter.has_to_wait()
            return
        try:
            self.finish()
        except Exception as error:  # noqa: BLE001  (the same)
            fault = fault or error
        if fault is None:
            waiter.has_ended()
        else:
            waiter.has_failed(fault)

    def _goes_straight_on(self) -> bool:
        sending, turn = self.sending, self.turn
        answer = sending.arrival.answer if sending is not None else None
        if sending is None or turn is None or answer is None:
            return False
        if not answer.is_complete or answer.head.status in _MAY_BE_REPEATED:
            return False
        self.turn = self.sending = None
        turn.answered(answer.head)
        turn.end()
        sending.time(answer)
        self.waited = answer.waited
        self.answer = answer
        try:
            return self.respond()
        except ProxyError as error:
            self.fail(error)
            return True
