"""The way of a person through the pages: account, password, consent, and back to who asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from aiohttp import web

from . import pages
from .authority import Authority
from .calls import Call
from .errors import EntraError
from .grants import Browser, Grant, Store
from .registry import Client, User
from .scopes import Scopes

PAGE_LIFETIME = 900.0
"""Seconds within which a person has to answer a page."""


class Destination(Protocol):
    """Who asked for the sign-in and learns how it ended: an application's redirect URI, or a device."""

    @property
    def redirect_uri(self) -> str:
        """Where the browser will be led, empty for nowhere."""

    def accept(self, grant: Grant, user: User) -> web.Response:
        """Hand over what the person granted."""

    def refuse(self, error: EntraError) -> web.Response:
        """Tell that there is no grant, and why."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sign-in under way; `username` is empty until a person has proved to be that user."""

    client: Client
    segment: str
    scopes: Scopes
    destination: Destination
    login_hint: str = ""
    prompt: str = ""
    nonce: str = ""
    is_confidential: bool = False
    username: str = ""

    @property
    def application(self) -> str:
        """The application's name as pages show it."""
        return self.client.name or self.client.client_id


class SignIns:
    """Leads each attempt from page to page and remembers who is signed in in which browser."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._attempts: Store[Attempt] = Store(authority.clock)

    def begin(self, call: Call, attempt: Attempt) -> web.Response:
        """The first page, or the end at once where the browser is signed in and nothing is left to ask."""
        user = self._signed_in_user(call, attempt)
        silent = attempt.prompt == "none"
        if user is None or attempt.prompt in {"login", "select_account", "create"}:
            return attempt.destination.refuse(EntraError(50058)) if silent else self._ask(call, attempt)
        try:
            return self._go_on(attempt, user)
        except EntraError as error:
            return attempt.destination.refuse(error) if silent else self._ask(call, attempt, error=error)

    def sign_in(self, call: Call) -> web.Response:
        """Answer the sign-in page; EntraError 9002313 where there is no such sign-in any more."""
        flow, attempt = self._attempt(call)
        if call.form.get("choice") == "cancel":
            return self._end(flow, attempt.destination.refuse(EntraError(65004)))
        accounts = self._browser(call).accounts
        chosen, typed = call.form.get("account", ""), call.form.get("username", "")
        try:
            if chosen in accounts:
                user = self._authority.known_user(chosen)
            else:
                user = self._authority.user(typed, call.form.get("password", ""))
            response = self._go_on(attempt, user, flow)
        except EntraError as error:
            return self._ask(call, replace(attempt, login_hint=chosen or typed), flow=flow, error=error)
        self._remember(call, response, user)
        return response

    def consent(self, call: Call) -> web.Response:
        """Answer the consent page; EntraError 9002313 where there is no such sign-in any more."""
        flow, attempt = self._attempt(call)
        if not attempt.username:
            raise EntraError(9002313, "nobody has signed in yet")
        if call.form.get("choice") != "accept":
            return self._end(flow, attempt.destination.refuse(EntraError(65004)))
        try:
            user = self._authority.known_user(attempt.username)
            directory = self._authority.directory_for(user, attempt.segment)
            resource = self._authority.resource(attempt.scopes, attempt.client, directory.id)
            self._authority.consent(user, attempt.client, resource, directory.id)
            return self._go_on(replace(attempt, prompt=""), user, flow)
        except EntraError as error:
            return self._ask(call, attempt, flow=flow, error=error)

    def _go_on(self, attempt: Attempt, user: User, flow: str = "") -> web.Response:
        """The consent page or the end; EntraError where this user can't go on and another one might."""
        authority, client = self._authority, attempt.client
        directory = authority.directory_for(user, attempt.segment)
        try:
            resource = authority.resource(attempt.scopes, client, directory.id)
        except EntraError as error:
            return self._end(flow, attempt.destination.refuse(error))
        if attempt.prompt == "consent" or not authority.is_consented(user, client, resource, directory.id):
            if resource.admin_consent_required:
                return self._end(flow, attempt.destination.refuse(EntraError(90094, attempt.application)))
            if attempt.prompt == "none":
                unasked = EntraError(65001, attempt.application, error="consent_required")
                return attempt.destination.refuse(unasked)
            flow = self._attempts.add(replace(attempt, username=user.username), PAGE_LIFETIME, flow)
            return pages.consent(
                flow,
                attempt.application,
                attempt.destination.redirect_uri,
                username=user.username,
                permissions=attempt.scopes.text,
            )
        authority.admit(user, client, resource, directory.id)
        grant = Grant(
            client.client_id,
            user.username,
            directory.id,
            attempt.scopes,
            is_confidential=attempt.is_confidential,
            nonce=attempt.nonce,
        )
        return self._end(flow, attempt.destination.accept(grant, user))

    def _ask(
        self, call: Call, attempt: Attempt, *, flow: str = "", error: EntraError | None = None
    ) -> web.Response:
        flow = self._attempts.add(attempt, PAGE_LIFETIME, flow)
        return pages.sign_in(
            flow,
            attempt.application,
            attempt.destination.redirect_uri,
            username=attempt.login_hint,
            accounts=self._browser(call).accounts,
            known=self._authority.registry.users.values(),
            error=None if error is None else (error.code, error.text),
        )

    def _end(self, flow: str, response: web.Response) -> web.Response:
        self._attempts.remove(flow)
        return response

    def _attempt(self, call: Call) -> tuple[str, Attempt]:
        flow = call.require("flow")
        attempt = self._attempts.live(flow)
        if attempt is None:
            raise EntraError(9002313, "this sign-in is over or took too long, start again")
        return flow, attempt

    def _signed_in_user(self, call: Call, attempt: Attempt) -> User | None:
        accounts = self._browser(call).accounts
        wanted = [one for one in accounts if attempt.login_hint.lower() in {"", one.lower()}]
        return self._authority.registry.users.get(wanted[0].lower()) if len(wanted) == 1 else None

    def _browser(self, call: Call) -> Browser:
        return self._authority.browsers.live(call.cookies.get(self._cookie_name, "")) or Browser()

    def _remember(self, call: Call, response: web.Response, user: User) -> None:
        accounts = tuple(dict.fromkeys((*self._browser(call).accounts, user.username)))
        # A new name with each sign-in: one that was planted before is worth nothing.
        self._authority.browsers.remove(call.cookies.get(self._cookie_name, ""))
        name = self._authority.browsers.add(Browser(accounts), self._authority.lifetimes.browser_session)
        response.set_cookie(self._cookie_name, name, path="/", secure=True, httponly=True, samesite="Lax")

    @property
    def _cookie_name(self) -> str:
        # Cookies know no ports (RFC 6265 section 8.5): two sandboxes on one machine would share a plain name.
        return f"__Host-sandbox-{self._authority.origin.rpartition(':')[2]}"
