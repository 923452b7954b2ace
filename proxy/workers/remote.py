"""A worker's side of a sign-in: credentials from the supervisor, and what came of the exchanges with them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ..admin import Metrics
from ..admin.ledger import Count
from ..auth import Authenticator, Clock
from ..auth.seams import Explain
from ..errors import ProxyUnavailable
from ..model import Credentials, FinishedExchange, Rejection
from .channel import Channel
from .wire import CredentialsAnswer, CredentialsQuestion, FinishedBatch, FinishedWords, Left

BATCH_SECONDS = 0.1
"""Between an exchange's end and its being counted: what a worker that is killed takes along uncounted."""


@dataclass(frozen=True, slots=True)
class _Copy:
    credentials: Credentials | None
    taken_at: float
    seconds: float


class RemoteAuthenticator:
    """An Authenticator whose sign-in is the supervisor's.

    What it was given it uses for as long as the supervisor says, a second at most, without asking. Whatever is
    refused, renewed or forbidden is decided there, once for all workers.
    """

    def __init__(self, channel: Channel, clock: Clock, sign_in: int, *, for_storage: bool = False) -> None:
        self._channel = channel
        self._clock = clock
        self._sign_in = sign_in
        self._for_storage = for_storage
        self._copy: _Copy | None = None
        self._waiting: set[asyncio.Future[dict[str, object]]] = set()
        self._is_closed = False

    async def credentials(self, rejected: Rejection | None = None) -> Credentials | None:
        """Valid credentials: a copy while it is good, otherwise the supervisor's answer."""
        copy = self._copy
        if rejected is None and copy is not None and (self._is_closed or self._is_good(copy)):
            return copy.credentials
        if self._is_closed:
            raise ProxyUnavailable("The proxy is stopping")
        question = CredentialsQuestion.of(self._sign_in, rejected, for_storage=self._for_storage)
        waiting = self._channel.ask("credentials", question.plain())
        self._waiting.add(waiting)
        try:
            answer = CredentialsAnswer.heard(await waiting)
        finally:
            self._waiting.discard(waiting)
        self._copy = _Copy(self._read(answer.authorization), self._clock.time(), answer.seconds)
        return self._copy.credentials

    def beside(self, audience: str, explain: Explain) -> Authenticator | None:  # noqa: ARG002  (the supervisor's)
        """The same identity's Authenticator for storage accounts; the supervisor says where there is none."""
        return RemoteAuthenticator(self._channel, self._clock, self._sign_in, for_storage=True)

    async def close(self) -> None:
        """Let nobody wait any more, and tell that this sign-in is not needed; a copy stays of use."""
        if self._is_closed:
            return
        self._is_closed = True
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(ProxyUnavailable("The proxy is stopping"))
        if not self._for_storage:
            self._channel.tell("left", Left(sign_in=self._sign_in).plain())

    def _is_good(self, copy: _Copy) -> bool:
        """Whether it may be used unasked; a clock that was set back makes it one of the future."""
        return 0 <= self._clock.time() - copy.taken_at < copy.seconds

    def _read(self, authorization: str | None) -> Credentials | None:
        """The same object for the same credentials, which tells others that nothing is new."""
        if authorization is None:
            return None
        credentials = Credentials(authorization.encode("latin-1"))
        return self._copy.credentials if self._copy and self._copy.credentials == credentials else credentials


class Outbox:
    """Exchanges that are over, on their way to the supervisor."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._exchanges: list[FinishedWords] = []

    def put(self, sign_in: int, exchange: FinishedExchange) -> None:
        """Send it, soon and with others."""
        if not self._exchanges:
            asyncio.get_running_loop().call_later(BATCH_SECONDS, self.send)
        self._exchanges.append(FinishedWords.of(sign_in, exchange))

    def send(self) -> None:
        """Send what there is."""
        if self._exchanges:
            self._channel.tell("finished", FinishedBatch(exchanges=self._exchanges).plain())
            self._exchanges = []


class RemoteMetrics(Metrics):
    """The counts of one sign-in's exchanges, kept by the supervisor; it counts tokens and failed sign-ins itself."""

    def __init__(self, outbox: Outbox, sign_in: int) -> None:
        super().__init__()
        self._outbox = outbox
        self._sign_in = sign_in

    @property
    def count_exchange(self) -> Count:
        """Who has them counted."""
        return lambda _, finished: self._outbox.put(self._sign_in, finished)

    def token(self, server: str) -> None:
        """Count nothing: the supervisor has."""

    def failure(self, server: str, kind: str) -> None:
        """Count nothing: the supervisor has."""
