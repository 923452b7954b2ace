"""What the exchanges of one server share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from .auth import ASK, AtHand, Authenticator
from .client_limits import ClientLimits
from .model import FinishedExchange, RequestHead
from .pacing import Pacing
from .rules.exchange import Exchange, ServerRules
from .upstream import Answer, Sending


class Running:
    """How many exchanges run."""

    def __init__(self) -> None:
        self._count = 0
        self._idle: asyncio.Event | None = None

    def begin(self) -> None:
        """One more runs."""
        self._count += 1

    def end(self) -> None:
        """One has ended."""
        self._count -= 1
        if self._idle is not None and not self._count:
            self._idle.set()
            self._idle = None

    def all_ended(self) -> asyncio.Event:
        """Set as soon as none runs."""
        idle = self._idle or asyncio.Event()
        if self._count:
            self._idle = idle
        else:
            idle.set()
        return idle


class Observer(Protocol):
    """Who is told of the exchanges of one server."""

    def finished(self, exchange: FinishedExchange) -> None:
        """Take note of an exchange that is over; neither waits nor raises."""


class Sender(Protocol):
    """The connections to one server."""

    def send(self, head: RequestHead, body: AsyncIterator[bytes] | bytes | None = None) -> Awaitable[Answer]:
        """Send a request, as `Upstream.send` does."""

    def begin(self, head: RequestHead, body: bytes | None = None) -> Sending | None:
        """Send a request at once, with all of its body, as `Upstream.begin` does."""

    def answer_to(self, sending: Sending) -> Awaitable[Answer]:
        """Wait for the answer to what has begun, as `Upstream.answer_to` does."""

    def warm(self) -> None:
        """Open a connection for a request that has to wait, as `Upstream.warm` does."""


def nothing_held() -> AtHand:
    """Of an authenticator that has to be asked each time."""
    return ASK


@dataclass(slots=True, init=False, eq=False)
class Site:
    """What the exchanges of one server share; never changed (see `model` for why it is not `frozen`)."""

    rules: ServerRules
    authenticator: Authenticator
    upstream: Sender
    pacing: Pacing
    limits: ClientLimits
    observer: Observer
    accounts: Mapping[str, Site]
    """The same for the storage accounts beside it, each with its own credentials, connections and pauses."""
    held: Callable[[], AtHand]
    """What the authenticator would give at once."""
    running: Running
    """How many exchanges run by the same settings."""
    watched: Callable[[RequestHead], Site] | None
    """The same for one exchange whose steps somebody follows, by its request; None where nobody does."""

    def __init__(
        self,
        rules: ServerRules,
        authenticator: Authenticator,
        upstream: Sender,
        pacing: Pacing,
        limits: ClientLimits,
        observer: Observer,
        running: Running,
        held: Callable[[], AtHand] = nothing_held,
        accounts: Mapping[str, Site] = MappingProxyType({}),
        watched: Callable[[RequestHead], Site] | None = None,
    ) -> None:
        self.rules = rules
        self.authenticator = authenticator
        self.upstream = upstream
        self.pacing = pacing
        self.limits = limits
        self.observer = observer
        self.running = running
        self.held = held
        self.accounts = accounts
        self.watched = watched

    def of(self, exchange: Exchange) -> Site:
        """The place that an exchange goes to."""
        return self.accounts[exchange.account] if exchange.account else self
