"""Signing in and out from the page: what can be asked for, and by whom.

Each action is a POST with the key that the page holds, so that no page of another site can make it, whatever a
browser lets through.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from aiohttp import web

from ..auth import Start
from ..auth.identities import PERSON_METHODS
from ..config import AuthMethod
from ..errors import BadRequest, CodingNotSupported, NotFound, ProxyError, RequestRefused
from .watching import ServerWatch, moment

KEY_FIELD = "X-CSRF-Token"
KEY_NAME = "csrf_token"
"""The key as a field of a program's request, and as a field of a page's form."""

JSON_TYPE, FORM_TYPE = "application/json", "application/x-www-form-urlencoded"

METHODS: Mapping[str, AuthMethod] = {method: method for method in sorted(PERSON_METHODS, reverse=True)}
"""What a person may choose from, the browser first: device codes are blocked in many tenants."""

JsonObject = dict[str, object]


@dataclass(frozen=True, slots=True)
class _Wish:
    """What was asked for: the values of a JSON object or a form, as text."""

    values: Mapping[str, str]
    is_form: bool

    def start(self) -> Start:
        """The sign-in that is wanted; BadRequest for one that there is not."""
        method = METHODS.get(self.values.get("method", "interactive"))
        if method is None:
            raise BadRequest(f"A person signs in by {' or '.join(METHODS)}")
        return Start(method, other_account=self.values.get("other_account") == "true", is_called_for=True)


class SignInApi:
    """Answers for all servers of the process, by their numbers, which start with 1."""

    def __init__(self, watches: Callable[[], Sequence[ServerWatch]]) -> None:
        self.key = secrets.token_urlsafe(32)
        """What an action has to bring; it lives as long as the process."""
        self._watches = watches
        self._endings: set[asyncio.Task[ProxyError | None]] = set()

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Answer under /api/servers."""
        place = r"/api/servers/{number:[1-9][0-9]{0,3}}"
        router.add_get(f"{place}/sign-in", self._state)
        router.add_post(f"{place}/sign-in", self._acting(self._begin))
        router.add_post(f"{place}/sign-in/cancel", self._acting(self._cancel))
        router.add_post(f"{place}/sign-out", self._acting(self._sign_out))

    async def close(self) -> None:
        """Wait for sign-ins that are over because the proxy stops."""
        if self._endings:
            await asyncio.wait(self._endings)

    def _watch(self, request: web.Request) -> ServerWatch:
        watches, number = self._watches(), int(request.match_info["number"])
        if number > len(watches):
            raise NotFound(
                f"There is no server {number}", hint=f"They are numbered from 1 to {len(watches)}."
            )
        return watches[number - 1]

    async def _state(self, request: web.Request) -> web.Response:
        return web.json_response({**sign_in_state(self._watch(request)), KEY_NAME: self.key})

    def _acting(
        self, act: Callable[[ServerWatch, _Wish], Awaitable[None]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            watch, wish = self._watch(request), await _wish(request)
            shown = request.headers.get(KEY_FIELD) or wish.values.get(KEY_NAME, "")
            if not hmac.compare_digest(shown.encode(), self.key.encode()):
                raise RequestRefused(
                    f"The request does not bring the key of this process in {KEY_FIELD}",
                    hint="Read the page again; a program finds the key in the answer to GET …/sign-in.",
                )
            error: ProxyError | None = None
            try:
                await act(watch, wish)
            except ProxyError as failed:
                error = failed
            if wish.is_form:  # what went wrong stands on the page
                raise web.HTTPSeeOther(f"/#server-{request.match_info['number']}")
            if error is not None:
                body = {"error": {"message": error.message, "hint": error.hint}}
                return web.json_response(body, status=error.status)
            return web.json_response(sign_in_state(watch))

        return answer

    async def _begin(self, watch: ServerWatch, wish: _Wish) -> None:
        """Begin a sign-in, until the person is told what to do, or it is over."""
        start = wish.start()
        desk = await watch.desk()
        ending = asyncio.create_task(_end(watch, start))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)
        invited = asyncio.create_task(
            desk.invited()
        )  # which runs after it, so that it sees no older invitation
        try:
            await asyncio.wait({ending, invited}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            invited.cancel()
        if ending.done() and (failed := ending.result()) is not None:
            raise failed

    async def _cancel(self, watch: ServerWatch, _: _Wish) -> None:
        await watch.cancel()

    async def _sign_out(self, watch: ServerWatch, _: _Wish) -> None:
        await watch.sign_out()


def sign_in_state(watch: ServerWatch) -> JsonObject:
    """Who is signed in, what a person can do, and what is waited for; no secret but the user code."""
    who, invitation = watch.identity, watch.invitation
    return {
        "methods": list(METHODS) if watch.takes_people else [],
        "account": who.account if watch.is_signed_in else "",
        "tenant": who.tenant if watch.is_signed_in else "",
        "token_valid_until": moment(who.expires_at) if watch.is_signed_in else None,
        "is_open": watch.sign_in_is_open,
        "invitation": invitation
        and {
            "method": invitation.method,
            "text": invitation.text,
            "address": invitation.address,
            "code": invitation.code,
            "expires_at": moment(invitation.expires_at),
        },
    }


async def _end(watch: ServerWatch, start: Start) -> ProxyError | None:
    """How a sign-in ends: None where somebody has signed in."""
    try:
        await watch.sign_in(start)
    except ProxyError as error:
        return error
    return None


async def _wish(request: web.Request) -> _Wish:
    """The body of a request, a flat JSON object or a form; it may be empty."""
    text = (await request.read()).decode("utf-8", "replace")
    if request.content_type == FORM_TYPE:
        form = await request.post()
        return _Wish({name: value for name, value in form.items() if isinstance(value, str)}, is_form=True)
    if request.content_type != JSON_TYPE:
        raise CodingNotSupported(f"{request.content_type} is not read here", hint=f"Send {JSON_TYPE}.")
    try:
        values = json.loads(text or "{}")
    except ValueError:
        raise BadRequest("The body is not JSON") from None
    if not isinstance(values, dict):
        raise BadRequest("The body is not a JSON object")
    return _Wish(
        {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()},
        is_form=False,
    )
