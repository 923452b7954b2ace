"""What outlives a process or is shared with others: people's sign-ins, and the access tokens of replicas."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from ..errors import IdentityProviderUnavailable
from .authorities import Authority
from .renewal import RENEW_AHEAD
from .sources import AccessToken

FRESH = 60.0
"""Seconds for which a shared token counts as new to somebody whose own one was refused: a token that is older
may have been obtained before what made the server refuse."""


class Serializable(Protocol):
    """MSAL's SerializableTokenCache."""

    has_state_changed: bool

    def serialize(self) -> str:
        """Its content as JSON."""

    def deserialize(self, state: str | None) -> None:
        """Take another content in the place of its own."""


class TurnLost(IdentityProviderUnavailable):
    """A process stood still for so long that another one has taken its place."""

    def __init__(self) -> None:
        super().__init__("The proxy stood still while it renewed its token", hint="Try again.")


@dataclass(frozen=True, slots=True)
class Obtained:
    """An access token, with when it was asked for, in Unix seconds."""

    token: AccessToken
    at: float

    def serves(self, now: float, unlike: str, *, was_refused: bool) -> bool:
        """Whether it does in the place of a new one, for somebody who has the token `unlike` already."""
        token = self.token
        ahead = min(RENEW_AHEAD, (token.expires_at - self.at) / 2)
        return (
            token.value != unlike
            and now < min(token.refresh_at, token.expires_at - ahead)
            and (not was_refused or now < self.at + FRESH)
        )


Tokens = dict[str, Obtained]
"""Access tokens by their purpose."""


def purpose_of(scope: str, account: str) -> str:
    """What an access token is for; `account` is MSAL's home account id, empty for an app."""
    return f"{scope} {account}"


def account_of(purpose: str) -> str:
    """Whose tokens those of a purpose are."""
    return purpose.rpartition(" ")[2]


class Keeping(Protocol):
    """The place of one app registration at one authority. It blocks."""

    def look(self, cache: Serializable) -> Tokens:
        """The access tokens that are shared now; where there are any, MSAL's cache is filled as well."""

    def shared(self, cache: Serializable) -> AbstractContextManager[Tokens]:
        """Fill MSAL's cache with what is kept now, alone among all processes, and keep what it holds at the end.

        Access tokens that are put into what it yields are kept too, where the place takes them.
        """

    def check(self) -> None:
        """Raise TurnLost where another process may be at it by now; called right before Entra ID is asked."""

    def close(self) -> None:
        """Let go of connections."""


Place = Callable[[Authority], Keeping | None]
"""Where the sign-ins at an authority are kept; None for memory alone. It may block."""
