"""The method `auto`: ask the server once what it wants, then do that.

It takes the identity that is configured and never guesses between two, and it starts nothing that needs a
person where none is. What it finds is kept where it is conclusive; a server in trouble is asked again.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from ..config import AuthMethod, ServerConfig
from ..errors import (
    AuthenticationFailed,
    ConfigError,
    ProxyError,
    ProxyUnavailable,
    SignInRequired,
    UpstreamUnreachable,
)
from ..model import Challenge, Credentials, Rejection, ResponseHead
from ..rules.challenges import bearer, one_line, parse_challenges
from ..rules.scopes import other_scopes
from .anonymous import AnonymousAuthenticator
from .authorities import Authority, asks_for_entra, authority
from .identities import APP_METHODS, IDENTITIES, configured
from .methods import made
from .seams import Authenticator, Explain, Holding, Probe, Seams, Versatile

Make = Callable[[AuthMethod, Probe], Authenticator]
"""Makes the Authenticator of a named method; the probe answers at once, with what the server has said."""

ELSEWHERE: Mapping[AuthMethod, Callable[[ServerConfig], str]] = {
    "token": lambda config: f"the token in {config.token_file or 'FHIR_AUTH_PROXY_TOKEN'}",
    "managed-identity": lambda _config: "the machine's managed identity",
    "command": lambda config: f"what the command {config.command[0]!r} prints",
}
"""Methods that sign in at no authority that is known here, and what is used then."""

_COUNTS = {2: "two", 3: "three", 4: "four"}

ASK_AGAIN = 5.0
"""Seconds between two questions to a server that is open but refuses some requests."""

LONGEST_WAIT = 3600
"""Seconds of a server's `Retry-After` that are passed on at most."""

NAME_IT = "Name the way to sign in with --auth (FHIR_AUTH_PROXY_AUTH)."

# Status -> what it says of the server, and what to do.
_WORDS = {
    400: ("cannot read a plain FHIR read", "Check that the base URL is that of a FHIR server."),
    403: ("forbids a read without credentials, and does not say how to sign in", NAME_IT),
    404: (
        "knows no FHIR server there",
        "Check the base URL; its path, such as /fhir or /r4, belongs to it. If it is right, "
        + NAME_IT.lower(),
    ),
    410: ("knows no FHIR server there any more", "Check the base URL."),
}

_NOT_THERE = frozenset({400, 404, 405, 422, 501})
"""What FHIR servers answer to a search of a type that they do not have (FHIR R4 section 3.1.0.1.6)."""

_TROUBLE = frozenset({408, 425, 429})


class AutoAuthenticator:
    """An Authenticator that becomes the one that the server asks for; belongs to one event loop.

    Raises what the chosen one raises, and the probe's errors; SignInRequired where a person would have to
    sign in and none is there, ConfigError where two identities are configured, AuthenticationFailed for a
    server that asks for something else than Entra ID.
    """

    def __init__(self, config: ServerConfig, seams: Seams, make: Make) -> None:
        self._config = config
        self._seams = seams
        self._make = make
        self._chosen: Authenticator | None = None
        self._holding: Holding | None = None
        self.method: AuthMethod = "auto"
        """The method that was made for the server's answer; `auto` before, and where none was."""
        self._flight: asyncio.Task[Authenticator | ProxyError] | None = None
        self._asked_at = float("-inf")
        self._told = ""
        self._is_closed = False

    @property
    def chosen(self) -> Authenticator | None:
        """The method that the server asks for; None before that is known."""
        return self._chosen

    async def choose(self) -> None:
        """Ask the server what it wants, unless that is known; raises why nothing can be done."""
        chosen = self._chosen or await self._choice()
        if isinstance(chosen, _Unable):
            await chosen.credentials()

    async def credentials(self, rejected: Rejection | None = None) -> Credentials | None:
        """The chosen method's credentials; a 401 from a server that was open has it asked again."""
        chosen = self._chosen
        if isinstance(chosen, AnonymousAuthenticator) and rejected is not None and self._may_ask_again():
            chosen = None
        if chosen is None:
            chosen, rejected = await self._choice(), None
        return await chosen.credentials(rejected)

    def held(self) -> Credentials | None:
        """The chosen method's credentials, where they are at hand."""
        return self._holding.held() if self._holding is not None else None

    def beside(self, audience: str, explain: Explain) -> Authenticator | None:
        """The chosen method's for another audience; None before there is a choice, too."""
        chosen = self._chosen
        if chosen is None or not isinstance(chosen, Versatile):
            return None
        return chosen.beside(audience, explain)

    async def close(self) -> None:
        """Stop what is under way; whoever waits gets ProxyUnavailable."""
        self._is_closed = True
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.wait({self._flight})
        if self._chosen is not None:
            await self._chosen.close()

    def _may_ask_again(self) -> bool:
        return not 0 <= self._seams.clock.time() - self._asked_at < ASK_AGAIN

    async def _choice(self) -> Authenticator:
        """The one choice that is under way, whoever began it and whoever stopped waiting."""
        if self._is_closed:
            raise ProxyUnavailable("The proxy is stopping.")
        flight = self._flight
        if flight is None:
            flight = self._flight = asyncio.create_task(self._choose())
        await asyncio.wait({flight})
        if flight.cancelled():
            raise ProxyUnavailable("The proxy is stopping.")
        outcome = flight.result()
        if isinstance(outcome, ProxyError):
            raise copy.copy(outcome)  # each waiter's own, since raising writes into an exception
        return outcome

    async def _choose(self) -> Authenticator | ProxyError:
        try:
            head = await self._seams.probe()
            self._asked_at = self._seams.clock.time()
            self._chosen = chosen = self._judged(head)
            self._holding = chosen if isinstance(chosen, Holding) else None
        except ProxyError as error:
            return error
        finally:
            self._flight = None
        return self._chosen

    def _judged(self, head: ResponseHead) -> Authenticator:
        """What this answer leads to; errors that another answer could change are raised."""
        if 200 <= head.status < 300 or _knows_no_patients(head):
            self._tell(f"{self._config.base_url} answers without sign-in; served anonymously{self._unused()}")
            return AnonymousAuthenticator()
        if head.status != 401:
            raise self._unexpected(head)
        challenges = parse_challenges(head.fields)
        try:
            method = self._method()
        except ConfigError as error:
            return _Unable(error)
        if method in ELSEWHERE:
            return self._without_authority(method, challenges)
        if not asks_for_entra(self._config, challenges):
            raise self._not_entra(challenges)
        chosen = authority(self._config, challenges, secret=method in APP_METHODS)
        if method == "interactive" and not self._seams.can_ask:
            return _Unable(self._person_needed(chosen))
        try:
            made = self._make(method, _answering(head))
        except ConfigError as error:
            return _Unable(error)
        self.method = method
        self._tell(self._announcement(method, chosen, challenges))
        return made

    def _method(self) -> AuthMethod:
        """The identity that is configured, otherwise a person's."""
        methods = configured(self._config)
        if len(methods) > 1:
            names = " and ".join(f"a {IDENTITIES[method].name}" for method in methods)
            raise ConfigError(
                f"{names[0].upper()}{names[1:]} are configured for {self._config.base_url}: that is "
                f"{_COUNTS.get(len(methods), 'many')} identities.",
                hint="Say which one to use: "
                f"{' or '.join(f'--auth {method}' for method in methods)} (FHIR_AUTH_PROXY_AUTH).",
            )
        return methods[0] if methods else "interactive"

    def _without_authority(self, method: AuthMethod, challenges: Sequence[Challenge]) -> Authenticator:
        """What brings tokens by itself: who issues them is not looked at."""
        if challenges and bearer(challenges) is None:
            raise self._not_entra(challenges)
        try:
            made = self._make(method, self._seams.probe)
        except ConfigError as error:
            return _Unable(error)
        self.method = method
        what = ELSEWHERE[method](self._config)
        self._tell(f"{self._config.base_url} asks for a sign-in; {what} is used")
        return made

    def _announcement(self, method: AuthMethod, chosen: Authority, challenges: Sequence[Challenge]) -> str:
        who = f"the app {self._config.client_id} signs in" if method in APP_METHODS else "you sign in"
        off = (chosen.wrong_cloud, other_scopes(challenges))
        warnings = "".join(f". Beware: {warning}" for warning in off if warning)
        return f"{self._config.base_url} asks for Entra ID; {who} at {chosen.url}{warnings}"

    def _unused(self) -> str:
        unused = [IDENTITIES[method].name for method in configured(self._config)]
        return f", the configured {' and '.join(unused)} is not used" if unused else ""

    def _tell(self, line: str) -> None:
        if line != self._told:
            self._told = line
            self._seams.tell(line)

    def _person_needed(self, chosen: Authority) -> SignInRequired:
        tenant = f" in the tenant {chosen.tenant}" if chosen.discovered or self._config.tenant else ""
        return SignInRequired(
            f"{self._config.base_url} asks for a sign-in with Entra ID{tenant}, and nobody is at this "
            "terminal to make one.",
            hint="Set one of these and start again: --auth device-code (FHIR_AUTH_PROXY_AUTH=device-code), "
            "whose link and code appear on stderr and work on any device; for an app, AZURE_TENANT_ID, "
            "AZURE_CLIENT_ID and AZURE_CLIENT_SECRET; for a token from elsewhere, --token-file.",
        )

    def _not_entra(self, challenges: Sequence[Challenge]) -> AuthenticationFailed:
        if bearer(challenges) is not None:
            return AuthenticationFailed(
                f"{self._config.base_url} wants a bearer token and does not say who issues it.",
                hint="If it is Entra ID, name your tenant with --tenant (AZURE_TENANT_ID); with a token from "
                "elsewhere, use --token-file.",
            )
        schemes = ", ".join(dict.fromkeys(one_line(challenge.scheme) for challenge in challenges))
        wanted = (
            f"asks for {schemes}, which is not Entra ID's way" if schemes else "does not say how to sign in"
        )
        return AuthenticationFailed(
            f"{self._config.base_url} answers 401 and {wanted}.",
            hint=f"{NAME_IT} Check that the base URL leads to the FHIR server itself and not to a gateway.",
        )

    def _unexpected(self, head: ResponseHead) -> ProxyError:
        base_url, status = self._config.base_url, head.status
        if status >= 500 or status in _TROUBLE:
            return UpstreamUnreachable(
                f"{base_url} answers {status}, so it cannot be asked whether it wants a sign-in.",
                hint=f"Try again later. {NAME_IT} Then nothing has to be asked.",
                retry_after=_retry_after(head),
            )
        if 300 <= status < 400:
            host = _redirect_host(head)
            return AuthenticationFailed(
                f"{base_url} redirects a FHIR read" + (f" to {host!r}." if host else "."),
                hint=f"Give the address to which it leads as the base URL. For a sign-in page: {NAME_IT}",
            )
        words, hint = _WORDS.get(status, ("neither answers a FHIR read nor asks for a sign-in", NAME_IT))
        return AuthenticationFailed(f"{base_url} answers {status}: it {words}.", hint=hint)


def auto(config: ServerConfig, seams: Seams) -> Authenticator:
    """What the server asks for, by the methods that there are."""

    def make(method: AuthMethod, probe: Probe) -> Authenticator:
        return made(method, config.replace(auth=method), replace(seams, probe=probe))

    return AutoAuthenticator(config, seams, make)


class _Unable:
    """An Authenticator for settings with which nothing can be done until they change."""

    def __init__(self, error: ProxyError) -> None:
        self._error = error

    async def credentials(self, rejected: Rejection | None = None) -> Credentials | None:  # noqa: ARG002
        raise copy.copy(self._error)

    async def close(self) -> None:
        """Nothing is under way, ever."""


def _answering(head: ResponseHead) -> Probe:
    async def probe() -> ResponseHead:
        return head

    return probe


def _knows_no_patients(head: ResponseHead) -> bool:
    """Whether a FHIR server looked at the read and has no such thing: a terminology server, an open one."""
    return head.status in _NOT_THERE and b"fhir" in (head.fields.get(b"content-type") or b"").lower()


def _retry_after(head: ResponseHead) -> int | None:
    value = head.fields.get(b"retry-after") or b""
    return min(int(value), LONGEST_WAIT) if value.isdigit() and len(value) < 10 else None


def _redirect_host(head: ResponseHead) -> str:
    """Where a redirect leads, without path and query, which may hold more than a log should."""
    try:
        return one_line(urlsplit(head.fields.text(b"location")).hostname or "")
    except ValueError:
        return ""
