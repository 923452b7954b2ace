"""Carry one exchange between client and upstream: bytes and waiting, no decision.

The ten steps stand in the package's docstring; what each of them decides is in `rules.exchange`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from time import perf_counter
from typing import Protocol

from .auth import Authenticator
from .client import SMALL, ClientAnswer, ClientRequest, Upload
from .client_limits import ClientLimits
from .errors import ProxyError
from .exchange_log import log_exchange
from .model import Credentials, FinishedExchange, RequestHead, ResponseHead
from .pacing import Pacing
from .rules.bodies import BodyPath
from .rules.correlation import identified, new_id
from .rules.exchange import Exchange, ServerRules, failure
from .rules.origins import preflight
from .rules.storage import exchange_of
from .upstream import Answer

CLIENT_LEFT = 499
"""What the log shows as the status of an answer that nobody waited for: nginx's number, never sent."""


class Observer(Protocol):
    """Who is told of the exchanges of one server."""

    def finished(self, exchange: FinishedExchange) -> None:
        """Take note of an exchange that is over; neither waits nor raises."""


class Sender(Protocol):
    """The connections to one server."""

    async def send(self, head: RequestHead, body: AsyncIterator[bytes] | bytes | None = None) -> Answer:
        """Send a request, as `Upstream.send` does."""


def nothing_held() -> None:
    """Of an authenticator that has to be asked each time."""


@dataclass(frozen=True, slots=True)
class Site:
    """What the exchanges of one server share."""

    rules: ServerRules
    authenticator: Authenticator
    upstream: Sender
    pacing: Pacing
    limits: ClientLimits
    observer: Observer
    accounts: Mapping[str, Site] = field(default_factory=dict)
    """The same for the storage accounts beside it, each with its own credentials, connections and pauses."""
    held: Callable[[], Credentials | None] = nothing_held
    """What the authenticator would give at once; None where it has to be asked."""
    watched: Callable[[RequestHead], Site] | None = None
    """The same for one exchange whose steps somebody follows, by its request; None where nobody does."""

    def of(self, exchange: Exchange) -> Site:
        """The place that an exchange goes to."""
        return self.accounts[exchange.account] if exchange.account else self


async def forward(request: ClientRequest, site: Site) -> ClientAnswer:
    """Answer one request of a tool: from the server, or with the OperationOutcome of what went wrong."""
    started = perf_counter()
    head = request.head
    request_id, shown_id = identified(head.fields, new_id())
    client = ClientAnswer(request)
    if site.watched is not None:
        site = site.watched(head)
    exchange: Exchange | None = None
    waited: float | None = None
    failed: ProxyError | None = None
    try:
        if head.method == "OPTIONS" and (leave := preflight(head, site.rules.listener)) is not None:
            await client.send(leave, b"", body_exists=False)
            return client
        exchange = exchange_of(head, site.rules, request_id)
        answer = await _send(exchange, request, site.of(exchange))
        waited = answer.waited
        try:
            response, path = exchange.client_response(answer.head)
            if not exchange.body_follows(answer.head):
                await client.send(response, b"", body_exists=False)
            elif (whole := _whole(answer, path)) is None:
                await _deliver(answer, response, path, client)
            elif client.put(response, whole):
                await request.outlet.drained()
        finally:
            if not answer.is_complete:
                await answer.close()
    except ProxyError as error:
        failed = error
        if client.sent_head is None:
            if error.ends_connection:
                client.close()
            await client.send(
                *failure(error, head, site.rules.listener, exchange.attempts if exchange else 0, request_id),
                body_exists=head.method != "HEAD",
            )
        else:
            client.abort()
    except ConnectionError:
        client.abort()
    finally:
        # By place, not by name, which costs five times as much.
        finished = FinishedExchange(
            exchange.classified if exchange else None,
            client.sent_head.status if client.sent_head else CLIENT_LEFT,
            request.received_bytes,
            client.sent_bytes,
            perf_counter() - started,
            waited,
            exchange.attempts if exchange else 0,
            shown_id,
            failed,
            exchange.account if exchange else "",
        )
        log_exchange(finished, finished.account or site.rules.authority)
        site.observer.finished(finished)
    return client


async def _send(exchange: Exchange, request: ClientRequest, site: Site) -> Answer:
    """The server's answer, after a renewed sign-in where it refused the first one, and after its pauses."""
    credentials: Credentials | None = None
    if exchange.needs_credentials:
        credentials = site.held() or await site.authenticator.credentials()
    exchange.check(credentials)
    upload = Upload(request, exchange.request_path())
    if request.head.body_exists:
        await upload.hold()
    if exchange.reads_body:
        exchange.check_body(upload.held)
    patience = site.pacing.patience()
    while True:
        turn = site.pacing.free_turn() or await site.pacing.turn(patience)
        try:
            head = exchange.upstream_request(credentials, length=upload.length)
            answer = await site.upstream.send(head, upload.body)
            pause = turn.answered(answer.head)
        finally:
            turn.end()
        is_repeatable = pause is not None and exchange.is_repeatable and not upload.is_spent
        if is_repeatable and site.pacing.may_repeat(patience):
            await answer.close()
            continue
        rejection = exchange.rejection(answer.head)
        if rejection is None:
            return answer
        credentials = await site.authenticator.credentials(rejection)
        if credentials is None:
            return answer
        await answer.close()
        exchange.check_resending(is_spent=upload.is_spent)


def _whole(answer: Answer, path: BodyPath | None) -> bytes | None:
    """A small body that is there, as the tool gets it; None where it comes in pieces."""
    body = answer.take_whole(SMALL) if path is None or path.is_direct else None
    return body if body is None or path is None else path.whole(body)


async def _deliver(answer: Answer, head: ResponseHead, path: BodyPath | None, client: ClientAnswer) -> None:
    small = await answer.read_small(SMALL)
    if small is None:
        await client.begin(head)
        async for chunk in answer.chunks():
            await client.feed(path.feed(chunk) if path else (chunk,))
        await client.finish(path.flush() if path else ())
    elif path is None:
        await client.send(head, small)
    else:
        await client.send_pieces(head, chain(path.feed(small), path.flush()))
