"""Carry one exchange between client and upstream: bytes and waiting, no decision.

The ten steps stand in the package's docstring; what each of them decides is in `rules.exchange`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import chain
from time import perf_counter

from aiohttp import web

from .auth import Authenticator
from .client import SMALL, ClientAnswer, Upload, request_head
from .errors import ProxyError
from .rules.exchange import Exchange, ServerRules, failure
from .upstream import Answer, Upstream

logger = logging.getLogger(__name__)

CLIENT_LEFT = 499
"""What the log shows as the status of an answer that nobody waited for: nginx's number, never sent."""


@dataclass(frozen=True, slots=True)
class Site:
    """What the exchanges of one server share."""

    rules: ServerRules
    authenticator: Authenticator
    upstream: Upstream


async def forward(request: web.BaseRequest, site: Site) -> web.StreamResponse:
    """Answer one request of a tool: from the server, or with the OperationOutcome of what went wrong."""
    started = perf_counter()
    head = request_head(request)
    client = ClientAnswer(request)
    name = "refused"
    failed: ProxyError | None = None
    try:
        exchange = Exchange(head, site.rules)
        name = str(exchange.classified)
        answer = await _send(exchange, request, site)
        try:
            await _deliver(answer, exchange, client)
        finally:
            await answer.close()
    except ProxyError as error:
        failed = error
        if client.sent_head is None:
            if error.ends_connection:
                client.close()
            await client.send(*failure(error, head), body_exists=head.method != "HEAD")
        else:
            client.abort()
    except ConnectionError:
        client.abort()
    finally:
        _log(name, client, perf_counter() - started, failed)
    return client


async def _send(exchange: Exchange, request: web.BaseRequest, site: Site) -> Answer:
    """The server's answer, after a renewed sign-in where it refused the first one."""
    credentials = await site.authenticator.credentials()
    exchange.check(credentials)
    upload = Upload(request, exchange.request_path())
    await upload.hold()
    while True:
        head = exchange.upstream_request(credentials, length=upload.length)
        answer = await site.upstream.send(head, upload.chunks() if head.body_exists else None)
        rejection = exchange.rejection(answer.head)
        if rejection is None:
            return answer
        credentials = await site.authenticator.credentials(rejection)
        if credentials is None:
            return answer
        await answer.close()
        exchange.check_resending(is_spent=upload.is_spent)


async def _deliver(answer: Answer, exchange: Exchange, client: ClientAnswer) -> None:
    head, path = exchange.client_response(answer.head)
    if not exchange.body_follows(answer.head):
        await client.send(head, b"", body_exists=False)
        return
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


def _log(name: str, client: ClientAnswer, seconds: float, failed: ProxyError | None) -> None:
    """One line for the exchange; no id, no query, no body: they are patient data."""
    status = client.sent_head.status if client.sent_head else CLIENT_LEFT
    if failed is None:
        logger.info("%s %d %dB %.0fms", name, status, client.sent_bytes, seconds * 1000)
    else:
        logger.warning(
            "%s %d %dB %.0fms: %s", name, status, client.sent_bytes, seconds * 1000, failed.message
        )
