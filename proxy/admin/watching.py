"""One server as an operator sees it: is it ready, who is signed in, what went wrong last."""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass
from datetime import UTC, datetime

from ..auth import Authenticator, Clock, Probe
from ..auth.identities import configured
from ..config import ServerConfig
from ..errors import ProxyError, RequestRefused
from ..model import Credentials, FinishedExchange, Rejection
from ..rules.claims import Identity, identity
from .metrics import Metrics

logger = logging.getLogger(__name__)

REACHED_FOR = 30.0
"""Seconds for which an answer of the server counts as a sign that it is there: probes come every ten."""

READINESS_SECONDS = 5.0
"""How long the server and Entra ID get to show that they are there; Kubernetes' probes are cut in seconds."""

BY_A_PERSON = frozenset({"interactive", "device-code"})
"""Methods of which a probe must not start one: nobody asked for the browser that would open."""

UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong, in the words that the tool got."""

    at: float
    message: str
    hint: str


class ServerWatch:
    """Stands between the exchanges of one server and its Authenticator; it remembers and decides nothing.

    It is an Authenticator itself, and the Observer of the exchanges.
    """

    def __init__(
        self,
        config: ServerConfig,
        authenticator: Authenticator,
        probe: Probe,
        clock: Clock,
        *,
        attended: bool,
        metrics: Metrics | None = None,
    ) -> None:
        self.config = config
        self.local_url = ""
        """The local base URL, once the listener accepts."""
        self.is_draining = False
        self.problem: Problem | None = None
        self._server = str(config.base_url)
        self._authenticator = authenticator
        self._probe = probe
        self._clock = clock
        self._attended = attended
        self._metrics = metrics
        self._credentials: Credentials | None = None
        self._identity = Identity()
        self._is_open = False
        self._reached_at = -math.inf

    @property
    def identity(self) -> Identity:
        """Who is signed in, as the token in use tells it."""
        return self._identity

    @property
    def token_seconds(self) -> float:
        """Seconds until the token in use expires; NaN where there is none or it does not tell."""
        expires_at = self._identity.expires_at
        return math.nan if expires_at is None else expires_at - self._clock.time()

    @property
    def is_signed_in(self) -> bool:
        """Whether there is a token that has not expired, as far as it tells."""
        return self._credentials is not None and not self.token_seconds <= 0

    async def credentials(self, rejected: Rejection | None = None) -> Credentials | None:
        """What the Authenticator gives or raises."""
        try:
            credentials = await self._authenticator.credentials(rejected)
        except ProxyError as error:
            self._remember(error)
            if self._metrics is not None:
                self._metrics.failure(self._server, type(error).__name__)
            raise
        if credentials is not self._credentials:
            self._take(credentials)
        self._is_open = credentials is None
        return credentials

    async def close(self) -> None:
        """Close the Authenticator."""
        await self._authenticator.close()

    def finished(self, exchange: FinishedExchange) -> None:
        """Take note of an exchange that is over."""
        if exchange.failed is None:
            if exchange.upstream_seconds is not None and not exchange.account:
                self._reached_at = self._clock.time()
        else:
            self._remember(exchange.failed)
            if not (exchange.account or isinstance(exchange.failed, RequestRefused)):
                self._reached_at = -math.inf
        if self._metrics is not None:
            self._metrics.exchange(self._server, exchange)

    async def unready(self) -> str:
        """Why a request would fail now; empty where none is known."""
        if self.is_draining:
            return "The proxy is stopping."
        try:
            async with asyncio.timeout(READINESS_SECONDS):
                return await self._unready()
        except TimeoutError:
            return f"{self._server} or its sign-in did not answer within {READINESS_SECONDS:g} seconds."
        except ProxyError as error:
            return f"{error.message} {error.hint}".strip()

    async def _unready(self) -> str:
        status = 0
        if not 0 <= self._clock.time() - self._reached_at < REACHED_FOR:
            status = (await self._probe()).status
            self._reached_at = self._clock.time()
        if self.is_signed_in or self._is_open:
            return ""
        if self._waits_for_a_person(status):
            return f"Nobody has signed in to {self._server} yet; the first request asks for it."
        await self.credentials()
        return ""

    def _waits_for_a_person(self, status: int) -> bool:
        """Whether asking for credentials would call somebody; `status` is what the server has just said."""
        config = self.config
        if config.auth != "auto":
            return config.auth in BY_A_PERSON
        return self._attended and not configured(config) and status in {0, UNAUTHORIZED}

    def _take(self, credentials: Credentials | None) -> None:
        is_new = credentials is not None and credentials != self._credentials
        self._credentials = credentials
        self._identity = identity(credentials) if credentials is not None else Identity()
        if is_new:
            logger.debug("A new token for %s; it is good for %.0f seconds.", self._server, self.token_seconds)
        if is_new and self._metrics is not None:
            self._metrics.token(self._server)

    def _remember(self, error: ProxyError) -> None:
        """Keep what somebody can mend; what a tool asked wrongly is in its own answer."""
        if not isinstance(error, RequestRefused):
            self.problem = Problem(self._clock.time(), error.message, error.hint)


def moment(seconds: float | None) -> str | None:
    """Unix seconds as RFC 3339 in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
