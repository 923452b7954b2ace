"""Faults on demand: what a test has the tenant do in place of its work."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from dataclasses import dataclass, field
from enum import StrEnum


class Endpoint(StrEnum):
    """The tenant's endpoints, as they stand in records and faults."""

    CONFIGURATION = "openid-configuration"
    KEYS = "keys"
    AUTHORIZE = "authorize"
    SIGN_IN = "login"
    CONSENT = "consent"
    DEVICE_CODE = "devicecode"
    DEVICE_PAGE = "devicelogin"
    TOKEN = "token"  # noqa: S105 - the name of an endpoint
    MACHINE = "managed-identity"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Answer with an AADSTS code in Entra's shape and its usual status."""

    code: int
    subject: str = "(none)"
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class HttpError:
    """Answer with a status and a body that is not Entra's, as a gateway before it does."""

    status: int
    retry_after: int | None = None
    body: str = "<html><body>The service is unavailable.</body></html>"
    content_type: str = "text/html"


@dataclass(frozen=True, slots=True)
class Garbage:
    """Answer 200 with a body that is no JSON."""

    body: bytes = b"\x00\xff{not json"


@dataclass(frozen=True, slots=True)
class Truncated:
    """Announce a body, send its first bytes and cut the connection."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Do the work, but let the access token live so many seconds; 0 or less for one that is expired."""

    seconds: float


@dataclass(slots=True, eq=False)
class Hang:
    """Say nothing until released, then do the work as if nothing had happened."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a request has come and waits."""
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        """Let all who wait go on, and all who come later pass."""
        self._released.set()

    async def wait(self) -> None:
        """Wait as the tenant does."""
        self.reached.set()
        await self._released.wait()


Fault = Refusal | HttpError | Garbage | Truncated | Lifetime | Hang


class Faults:
    """The faults that wait for requests, first in, first out, for each endpoint.

    Apart from Lifetime and Hang a fault comes in place of the work: nothing is issued, no code or refresh
    token is used up. Must be touched from the tenant's event loop alone.
    """

    def __init__(self) -> None:
        self._next: defaultdict[Endpoint, deque[Fault]] = defaultdict(deque)
        self._always: dict[Endpoint, Fault] = {}
        self._hangs: list[Hang] = []

    def next(self, fault: Fault, *, times: int = 1, endpoint: Endpoint = Endpoint.TOKEN) -> None:
        """Let the next requests to an endpoint meet a fault."""
        self._next[endpoint].extend([fault] * times)
        self._remember(fault)

    def always(self, fault: Fault, *, endpoint: Endpoint = Endpoint.TOKEN) -> None:
        """Let every request to an endpoint meet a fault until `clear`; those of `next` come first."""
        self._always[endpoint] = fault
        self._remember(fault)

    def clear(self) -> None:
        """Forget all faults and release those who hang."""
        for hang in self._hangs:
            hang.release()
        self._hangs.clear()
        self._next.clear()
        self._always.clear()

    def take(self, endpoint: Endpoint) -> Fault | None:
        """The fault that a request meets, used up by it."""
        waiting = self._next[endpoint]
        return waiting.popleft() if waiting else self._always.get(endpoint)

    def _remember(self, fault: Fault) -> None:
        if isinstance(fault, Hang):
            self._hangs.append(fault)
