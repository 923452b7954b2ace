"""Carry one exchange where it has to wait: bytes and waiting, no decision.

The ten steps stand in the package's docstring; what each of them decides is in `rules.exchange`.
"""

from __future__ import annotations

from collections.abc import Iterable

from .auth import ASK
from .client import SMALL
from .client_upload import Upload
from .errors import ProxyError
from .passage import Passage
from .patience import turn_of
from .rules.origins import preflight
from .upstream import Answer, chunks, small_body


async def forward(passage: Passage) -> None:
    """Answer a request of a tool: from the server, or with the OperationOutcome of what went wrong.

    The exchange is carried from where it is to its end.
    """
    try:
        try:
            if not passage.is_written:
                await _carry(passage)
        except ProxyError as error:
            passage.fail(error)
        if passage.is_written:
            await _drained(passage)
    except ConnectionError:
        passage.client.abort()
    finally:
        passage.finish()


async def _carry(passage: Passage) -> None:
    passage.watch()
    head, listener = passage.request.head, passage.site.rules.listener
    if head.method == "OPTIONS" and (leave := preflight(head, listener)) is not None:
        passage.client.send(leave, b"", body_exists=False)
        return
    if passage.answer is None:
        passage.answer = await _answer(passage)
        passage.waited = passage.answer.waited
    try:
        if not passage.respond():
            await _deliver(passage, passage.answer)
    finally:
        if not passage.answer.is_complete:
            passage.answer.close()


async def _answer(passage: Passage) -> Answer:
    """The server's answer, after a renewed sign-in where it refused the first one, and after its pauses."""
    request, exchange, credentials = passage.request, passage.exchange, passage.credentials
    turn, sending = passage.turn, passage.sending
    if exchange is None:
        exchange = passage.address()
        if exchange.needs_credentials:
            place = passage.place
            held = place.held()
            if held is ASK:
                place.upstream.warm()
                credentials = await place.authenticator.credentials()
            else:
                credentials = held
        exchange.check(credentials)
    place = passage.place
    upload = Upload(request, exchange.request_path())
    if request.head.body_exists:
        await upload.hold()
    if exchange.reads_body:
        exchange.check_body(upload.held)
    patience = place.pacing.patience()
    while True:
        turn = turn or place.pacing.free_turn() or await turn_of(place.pacing, patience)
        try:
            if sending is None:
                head = exchange.upstream_request(credentials, length=upload.length)
                answer = await place.upstream.send(head, upload.body)
            else:
                answer = await place.upstream.answer_to(sending)
            pause = turn.answered(answer.head)
        finally:
            turn.end()
        turn = sending = None
        is_repeatable = pause is not None and exchange.is_repeatable and not upload.is_spent
        if is_repeatable and place.pacing.may_repeat(patience):
            answer.close()
            continue
        rejection = exchange.rejection(answer.head)
        if rejection is None:
            return answer
        credentials = await place.authenticator.credentials(rejection)
        if credentials is None:
            return answer
        answer.close()
        exchange.check_resending(is_spent=upload.is_spent)


async def _deliver(passage: Passage, answer: Answer) -> None:
    """Write an answer that comes in pieces, or has to be decoded."""
    client, path, head = passage.client, passage.path, passage.response
    assert head is not None  # noqa: S101  (`respond` has decided it)
    small = await small_body(answer, SMALL) if passage.rest is None else None
    if small is not None and passage.send_whole(small):
        return
    client.begin(head)
    await _drained(passage)
    if passage.rest is not None:
        await _feed(passage, passage.rest)
    else:
        async for chunk in chunks(answer):
            await _feed(passage, path.feed(chunk) if path else (chunk,))
        await _feed(passage, path.flush() if path else ())
    client.finish()
    await _drained(passage)


async def _feed(passage: Passage, pieces: Iterable[bytes]) -> None:
    """Write pieces of the body, and wait while the tool is slower than the server."""
    for piece in pieces:
        passage.client.feed(piece)
        await _drained(passage)


async def _drained(passage: Passage) -> None:
    if passage.request.outlet.writing_paused:
        await passage.request.outlet.drained()
