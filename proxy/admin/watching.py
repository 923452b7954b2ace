"""One server as an operator sees it: is it ready, who is signed in, what went wrong last."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from ..auth import (
    ASK,
    AtHand,
    Authenticator,
    Desk,
    Gate,
    Holding,
    Invitation,
    Seams,
    Start,
    desk_of,
    opened_desk_of,
)
from ..auth.earlier_run import may_be_kept
from ..auth.identities import PERSON_METHODS, configured
from ..config import ServerConfig
from ..errors import ConfigError, ProxyError, RequestRefused, SignInRequired
from ..model import Credentials, Rejection
from ..rules.claims import Identity, identity
from ..rules.tokens import Finding
from .ledger import Ledger
from .metrics import Metrics

logger = logging.getLogger(__name__)

REACHED_FOR = 30.0
"""Seconds for which an answer of the server counts as a sign that it is there: probes come every ten."""

READINESS_SECONDS = 5.0
"""How long the server and Entra ID get to show that they are there; Kubernetes' probes are cut in seconds."""

UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong, in the words that the tool got."""

    at: float
    message: str
    hint: str
    is_of_sign_in: bool = False


class ServerWatch:
    """Stands between the exchanges of one server and its Authenticator; it remembers and decides nothing.

    It is an Authenticator itself.
    """

    def __init__(
        self,
        config: ServerConfig,
        authenticator: Authenticator,
        seams: Seams,
        *,
        metrics: Metrics | None = None,
    ) -> None:
        self.config = config
        self.local_url = ""
        """The local base URL, once the listener accepts."""
        self.is_draining = False
        self.obstacle = ""
        """Why nothing is served at all, where that is so."""
        self.problem: Problem | None = None
        self._server = str(config.base_url)
        self._authenticator = authenticator
        self._holding = authenticator if isinstance(authenticator, Holding) else None
        self._seams = seams
        self._clock = seams.clock
        self._metrics = metrics
        self._credentials: Credentials | None = None
        self._identity = Identity()
        self._is_open = False
        count = metrics.count_exchange if metrics is not None else None
        self.ledger = Ledger(self._server, self._clock.time, self._remember, count)
        """What the exchanges with the server are noted in; their Observer."""

    @property
    def identity(self) -> Identity:
        """Who is signed in, as the token in use tells it."""
        return self._identity

    @property
    def now(self) -> float:
        """Unix seconds."""
        return self._clock.time()

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
            self._is_open = False
            self._failed(error)
            raise
        if credentials is not self._credentials:
            self._take(credentials)
        self._is_open = credentials is None
        return credentials

    def held(self) -> AtHand:
        """The credentials in use, where they are at hand; None where none have been asked for so far."""
        if self._is_open:
            return None
        credentials = self._holding.held() if self._holding is not None else None
        return ASK if credentials is None or credentials is not self._credentials else credentials

    @property
    def invitation(self) -> Invitation | None:
        """What a person has to do to sign in; None while nobody is asked."""
        found = desk_of(self._authenticator)
        return found.invitation if found is not None else None

    @property
    def sign_in_is_open(self) -> bool:
        """Whether a sign-in is under way."""
        found = desk_of(self._authenticator)
        return found is not None and found.is_open

    @property
    def takes_people(self) -> bool:
        """Whether a person signs in here, or might, as far as is known."""
        if desk_of(self._authenticator) is not None:
            return True
        return (
            self.config.auth == "auto"
            and self._credentials is None
            and not (self._is_open or configured(self.config))
        )

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is off about the token in use, without being in the way."""
        gate = self._authenticator
        return gate.findings if isinstance(gate, Gate) and self.is_signed_in else ()

    async def desk(self) -> Desk:
        """Where a person signs in; raises why none can."""
        with self._remembering():
            return await opened_desk_of(self._authenticator)

    async def resume(self) -> None:
        """Go on as the person whom an earlier run has kept, where that needs nobody; otherwise a request asks."""
        config = self.config
        is_of_people = config.auth in PERSON_METHODS or (config.auth == "auto" and not configured(config))
        try:
            if is_of_people and may_be_kept(config):
                await (await opened_desk_of(self._authenticator)).resume()
                await self.credentials()
        except (ConfigError, SignInRequired):
            return  # there is nobody to go on as
        except ProxyError as error:
            self._remember(error)

    async def sign_in(self, start: Start) -> None:
        """Have a person sign in who wants to; raises why nobody has."""
        with self._remembering():
            await (await opened_desk_of(self._authenticator)).sign_in(start)
        await self.credentials()

    async def cancel(self) -> None:
        """End the sign-in that is under way, if there is one."""
        found = desk_of(self._authenticator)
        if found is not None:
            await found.cancel()

    async def sign_out(self) -> None:
        """Forget the person who has signed in."""
        with self._remembering():
            await (await opened_desk_of(self._authenticator)).sign_out()
        self._take(None)
        self.problem = None

    async def close(self) -> None:
        """Close the Authenticator."""
        await self._authenticator.close()

    async def unready(self) -> str:
        """Why a request would fail now; empty where none is known."""
        if self.is_draining:
            return "The proxy is stopping."
        if not self.local_url:
            return "The proxy is starting."
        if self.obstacle:
            return self.obstacle
        try:
            async with asyncio.timeout(READINESS_SECONDS):
                return await self._unready()
        except TimeoutError:
            return f"{self._server} or its sign-in did not answer within {READINESS_SECONDS:g} seconds."
        except ProxyError as error:
            return f"{error.message.rstrip('.')}. {error.hint}".strip()

    async def _unready(self) -> str:
        status = 0
        if not 0 <= self._clock.time() - self.ledger.reached_at < REACHED_FOR:
            status = (await self._seams.probe()).status
            self.ledger.reached_at = self._clock.time()
        if self.is_signed_in or self._is_open:
            return ""
        if self._waits_for_a_person(status):
            page = self._seams.page()
            elsewhere = f" Or sign in at {page}." if page else ""
            return f"Nobody has signed in to {self._server} yet; the first request asks for it.{elsewhere}"
        await self.credentials()
        return ""

    def _waits_for_a_person(self, status: int) -> bool:
        """Whether asking for credentials would call somebody; `status` is what the server has just said.

        A probe calls nobody: they did not ask for the browser that would open.
        """
        config = self.config
        if config.auth != "auto":
            return config.auth in PERSON_METHODS
        return self._seams.can_ask and not configured(config) and status in {0, UNAUTHORIZED}

    def _take(self, credentials: Credentials | None) -> None:
        is_new = credentials is not None and credentials != self._credentials
        if is_new and self.problem is not None and self.problem.is_of_sign_in:
            self.problem = None  # it is mended
        self._credentials = credentials
        self._identity = identity(credentials) if credentials is not None else Identity()
        if is_new:
            logger.debug("A new token for %s; it is good for %.0f seconds.", self._server, self.token_seconds)
        if is_new and self._metrics is not None:
            self._metrics.token(self._server)

    @contextmanager
    def _remembering(self) -> Iterator[None]:
        try:
            yield
        except ProxyError as error:
            self._failed(error)
            raise

    def _failed(self, error: ProxyError) -> None:
        """There is no token."""
        self._remember(error)
        if self._metrics is not None:
            self._metrics.failure(self._server, type(error).__name__)

    def _remember(self, error: ProxyError) -> None:
        """Keep what somebody can mend; what a tool asked wrongly is in its own answer."""
        if not isinstance(error, RequestRefused):
            self.problem = Problem(
                self._clock.time(), error.message, error.hint, error.issue_code == SignInRequired.issue_code
            )


def moment(seconds: float | None) -> str | None:
    """Unix seconds as RFC 3339 in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
