"""What signing in needs from outside: the clock, the browser, the terminal, a question to the server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol, runtime_checkable

from ..config import AuthMethod
from ..errors import AuthenticationFailed
from ..model import Challenge, Credentials, Rejection, ResponseHead
from .clock import Clock
from .flows import Invitation, Start

Probe = Callable[[], Awaitable[ResponseHead]]
"""One read of the server without credentials: the head of its answer."""

Explain = Callable[[Sequence[Challenge]], AuthenticationFailed]
"""The error for a token that the server refuses although it is new, from the challenges of its 401."""

Tell = Callable[[str], None]
"""Shows one line to the person at the terminal; safe to call from any thread."""


class Browser(Protocol):
    """The person's web browser."""

    def open(self, url: str) -> bool:
        """Show a page; False where no browser could be started. It may block, so it gets its own thread."""


class Authenticator(Protocol):
    """Where an exchange gets its credentials."""

    async def credentials(self, rejected: Rejection | None = None) -> Credentials | None:
        """Valid credentials; None where the server takes requests without any.

        `rejected` are credentials that the server refused although they had not expired: they are never
        returned again. Raises SignInRequired, AuthenticationFailed or IdentityProviderUnavailable.
        """

    async def close(self) -> None:
        """Stop what is under way; does not wait for Entra ID."""


class Unknown(Enum):
    """Instead of credentials, or of None for an open server."""

    ASK = "The Authenticator has to be asked."


ASK: Final = Unknown.ASK

AtHand = Credentials | Unknown | None
"""Credentials as `Authenticator.credentials` would give them without waiting, or ASK."""


@runtime_checkable
class Holding(Protocol):
    """An Authenticator that may have credentials at hand."""

    def held(self) -> Credentials | None:
        """What `credentials` would give without waiting; None where it has to be asked."""


@runtime_checkable
class Versatile(Protocol):
    """An Authenticator whose identity may have tokens for other audiences as well."""

    def beside(self, audience: str, explain: Explain) -> Authenticator | None:
        """An Authenticator of the same identity for another audience, which asks nobody to sign in.

        None where the tokens come from elsewhere and are for one audience alone.
        """


@runtime_checkable
class Choosing(Authenticator, Protocol):
    """An Authenticator that becomes another one, once the server has said what it wants."""

    method: AuthMethod
    """The method that was made for the server's answer; `auto` before, and where none was."""

    @property
    def chosen(self) -> Authenticator | None:
        """The method that the server asks for; None before that is known."""

    async def choose(self) -> None:
        """Ask the server what it wants, unless that is known; raises why nothing can be done."""


@runtime_checkable
class Desk(Authenticator, Protocol):
    """An Authenticator whose person can sign in, think better of it, and sign out, at any time."""

    @property
    def invitation(self) -> Invitation | None:
        """What the person has to do now; None while nobody is asked, and until the sign-in has begun."""

    @property
    def is_open(self) -> bool:
        """Whether a sign-in is under way."""

    async def sign_in(self, start: Start) -> None:
        """Begin, or begin again in another way, and wait for the end; raises what says why nobody signed in."""

    async def resume(self) -> None:
        """Go on as whoever an earlier run has kept; raises why not, without asking anybody."""

    async def invited(self) -> None:
        """Wait until the person is told what to do."""

    async def cancel(self) -> None:
        """End the sign-in that is under way, if there is one; whoever waits for it gets SignInRequired."""

    async def sign_out(self) -> None:
        """Forget the person and their tokens; requests that come meanwhile get SignInRequired."""


async def unasked() -> ResponseHead:
    """The probe of seams that belong to no server yet."""
    raise RuntimeError("there is no server to ask")


def no_page() -> str:
    """The sign-in page of a process without one."""
    return ""


@dataclass(frozen=True, slots=True)
class Seams:
    """Everything that a way to sign in cannot foresee, replaced by fakes in tests."""

    clock: Clock
    browser: Browser
    tell: Tell
    attended: bool
    """Whether a person is at hand, who can be asked to sign in."""
    probe: Probe = unasked
    page: Callable[[], str] = no_page
    """The address of the page on which a person can sign in and out; empty where there is none."""

    @property
    def can_ask(self) -> bool:
        """Whether somebody can be asked to sign in: at this terminal, or on the page."""
        return self.attended or bool(self.page())
