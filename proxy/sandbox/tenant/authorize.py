"""The authorization endpoint: a browser comes with a request and leaves with a code (RFC 6749, 3.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlencode
from uuid import uuid4

from aiohttp import web

from . import pages
from .authority import Authority
from .calls import Call
from .errors import EntraError
from .grants import AuthorizationCode, Grant
from .issuing import client_info
from .registry import Client, User
from .scopes import Scopes
from .sign_in import Attempt, SignIns

CHALLENGE_SIZES = range(43, 129)
"""RFC 7636 section 4.2; a SHA-256 challenge has 43 characters, but Entra tells the size first."""
PROMPTS = frozenset({"", "none", "login", "consent", "select_account", "create"})


@dataclass(frozen=True, slots=True)
class Redirect:
    """An application's redirect URI as the destination of a sign-in."""

    authority: Authority = field(repr=False)
    redirect_uri: str
    response_mode: str
    state: str
    code_challenge: str
    client_info_wanted: bool

    def accept(self, grant: Grant, user: User) -> web.Response:
        """Carry a code to the application."""
        value = AuthorizationCode(grant, self.redirect_uri, self.code_challenge)
        code = self.authority.codes.add(value, self.authority.lifetimes.authorization_code)
        info = {"client_info": client_info(user)} if self.client_info_wanted else {}
        return self._carry({"code": code, **info, "session_state": str(uuid4())})

    def refuse(self, error: EntraError) -> web.Response:
        """Carry an error to the application (RFC 6749 section 4.1.2.1)."""
        answer = error.answer(self.authority.clock())
        subcode = {"error_subcode": error.kind.suberror} if error.kind.suberror else {}
        names = ("error", "error_description", "error_uri")
        return self._carry({**{name: str(answer[name]) for name in names}, **subcode})

    def _carry(self, parameters: dict[str, str]) -> web.Response:
        if self.state:
            parameters["state"] = self.state
        if self.response_mode == "form_post":
            return pages.form_post(self.redirect_uri, parameters)
        separator = "&" if "?" in self.redirect_uri else "?"
        location = f"{self.redirect_uri}{separator}{urlencode(parameters)}"
        return web.Response(status=302, headers={"Location": location, "Cache-Control": "no-store"})


class AuthorizeEndpoint:
    """Answers `GET /{tenant}/oauth2/v2.0/authorize`."""

    def __init__(self, authority: Authority, sign_ins: SignIns) -> None:
        self._authority = authority
        self._sign_ins = sign_ins

    async def answer(self, call: Call) -> web.Response:
        """A page or a redirect; EntraError as long as nobody knows that the redirect URI is to be trusted."""
        client = self._authority.client(call.form.get("client_id", ""), call.segment)
        redirect_uri = call.require("redirect_uri")
        if not (client.is_native(redirect_uri) or client.is_web(redirect_uri)):
            raise EntraError(50011, redirect_uri)
        mode = call.form.get("response_mode", "query")
        redirect = Redirect(
            self._authority,
            redirect_uri,
            mode,
            call.form.get("state", ""),
            call.form.get("code_challenge", ""),
            call.form.get("client_info") == "1",
        )
        try:
            attempt = self._attempt(call, client, redirect)
        except EntraError as error:
            return redirect.refuse(error)
        return self._sign_ins.begin(call, attempt)

    def _attempt(self, call: Call, client: Client, redirect: Redirect) -> Attempt:
        if redirect.response_mode not in {"query", "form_post"}:
            raise EntraError(70007, redirect.response_mode)
        if call.require("response_type") != "code":
            raise EntraError(70005, call.form["response_type"])
        if "authorization_code" not in client.grant_types:
            raise EntraError(70003, "authorization_code")
        prompt = call.form.get("prompt", "")
        if prompt not in PROMPTS:
            raise EntraError(9002313, f"prompt '{prompt}' is not known")
        is_native = client.is_native(redirect.redirect_uri)
        _check_challenge(call, is_required=is_native)
        scopes = Scopes.parse(call.require("scope"))
        self._authority.resource(scopes, client, call.segment)
        return Attempt(
            client,
            call.segment,
            scopes,
            redirect,
            login_hint=call.form.get("login_hint", ""),
            prompt=prompt,
            nonce=call.form.get("nonce", ""),
            is_confidential=not is_native,
        )


def _check_challenge(call: Call, *, is_required: bool) -> None:
    challenge = call.form.get("code_challenge", "")
    if not challenge and is_required:
        raise EntraError(9002325)
    if challenge and call.form.get("code_challenge_method", "plain") != "S256":
        raise EntraError(50149, call.form.get("code_challenge_method", "plain"))
    if challenge and len(challenge) not in CHALLENGE_SIZES:
        raise EntraError(501491)
