"""What the tenant has handed out and remembers: codes, device codes, refresh tokens, signed-in browsers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from .scopes import Scopes

T = TypeVar("T")

Clock = Callable[[], float]
"""Seconds since the epoch."""

REMEMBERED = 3600.0
"""Seconds for which an expired entry is kept, so that it is told as expired and not as unknown."""

USER_CODE_CHARACTERS = "BCDFGHJKLMNPQRSTVWXZ"
"""No vowels, hence no words (RFC 8628 section 6.1)."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A person's permission for a client to act in a directory; it must prove itself if `is_confidential`."""

    client_id: str
    username: str
    directory_id: str
    scopes: Scopes
    is_confidential: bool = False
    nonce: str = ""


@dataclass(slots=True)
class Entry(Generic[T]):
    """A stored value and the time until which it is good."""

    value: T
    expires_at: float


class Store(Generic[T]):
    """Values under random names; what expired long ago is forgotten whenever something is added."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[str, Entry[T]] = {}

    def add(self, value: T, lifetime: float, key: str = "") -> str:
        """Keep a value for so many seconds under a new, unguessable name."""
        now = self._clock()
        self._entries = {
            name: entry for name, entry in self._entries.items() if entry.expires_at + REMEMBERED > now
        }
        key = key or secrets.token_urlsafe(32)
        self._entries[key] = Entry(value, now + lifetime)
        return key

    def get(self, key: str) -> Entry[T] | None:
        """The entry of a name, expired or not."""
        return self._entries.get(key)

    def live(self, key: str) -> T | None:
        """The value of a name, unless it has expired."""
        entry = self._entries.get(key)
        return None if entry is None or self.is_expired(entry) else entry.value

    def is_expired(self, entry: Entry[T]) -> bool:
        """Whether an entry's time is over."""
        return self._clock() >= entry.expires_at

    def living(self) -> Iterator[T]:
        """The values that have not expired."""
        return (entry.value for entry in self._entries.values() if not self.is_expired(entry))

    def remove(self, key: str) -> None:
        """Forget a name."""
        self._entries.pop(key, None)

    def __iter__(self) -> Iterator[T]:
        return (entry.value for entry in self._entries.values())


@dataclass(slots=True)
class AuthorizationCode:
    """A code on its way from the browser to the client (RFC 6749 section 4.1, RFC 7636)."""

    grant: Grant
    redirect_uri: str
    code_challenge: str
    is_redeemed: bool = False


@dataclass(slots=True)
class RefreshToken:
    """What a refresh token stands for; a used one is forgotten, a revoked one is kept and told as such."""

    grant: Grant
    is_revoked: bool = False


@dataclass(slots=True)
class Browser:
    """The user names that are signed in in one browser."""

    accounts: tuple[str, ...] = ()


class Decision(Enum):
    """What the person said to a device code."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    REDEEMED = "redeemed"


@dataclass(slots=True)
class DeviceRequest:
    """A device that waits for a person (RFC 8628); `interval` in seconds grows when it polls too often."""

    client_id: str
    segment: str
    scopes: Scopes
    user_code: str
    interval: float
    polled_at: float | None = None
    decision: Decision = Decision.PENDING
    grant: Grant | None = None


def new_user_code() -> str:
    """Nine letters that a person can type."""
    return "".join(secrets.choice(USER_CODE_CHARACTERS) for _ in range(9))
