"""Where tokens come from: what one is, what a way to obtain it has to do, and what a person can be asked."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from ..errors import AuthenticationFailed, SignInRequired
from ..model import Credentials, Rejection

_B64TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
"""RFC 6750 section 2.1."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A bearer token with its times in Unix seconds; `refresh_at` is when the issuer wants it renewed."""

    value: str = field(repr=False)
    expires_at: float
    refresh_at: float

    def credentials(self) -> Credentials:
        """The token as it goes into the `Authorization` field; AuthenticationFailed where it cannot."""
        if not _B64TOKEN.fullmatch(self.value):
            raise AuthenticationFailed(
                "The access token holds characters that none may hold (RFC 6750 section 2.1)",
                hint="Give the token alone: no quotes, no prefix, no line breaks.",
            )
        return Credentials(b"Bearer " + self.value.encode("ascii"))


class TokenSource(Protocol):
    """One way to obtain tokens, without troubling a person."""

    async def acquire(self, *, rejected: Rejection | None) -> AccessToken:
        """A token; where `rejected` is set, none of those that the source holds already."""

    async def close(self) -> None:
        """Stop what is under way."""


@runtime_checkable
class VersatileSource(Protocol):
    """A TokenSource whose identity can have tokens for other audiences as well."""

    def beside(self, audience: str) -> TokenSource:
        """The same for another audience; closed by itself, and asks nobody to sign in."""


class Person(Protocol):
    """The person who can sign in where the source alone gets no further."""

    patience: float
    """Seconds that a request is held while the person signs in; tools have time limits of their own."""

    async def sign_in(self, reason: SignInRequired) -> AccessToken:
        """Ask for a sign-in and wait for it, within the configured time."""

    def awaited(self) -> SignInRequired | None:
        """What a request is told that waits no longer; None while no sign-in is open."""
