"""Values as they pass between supervisor and worker: plain ones, which the channel packs."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from types import MappingProxyType
from typing import Self

from msgspec import Struct, convert, to_builtins

from .. import errors
from ..config import Config, ListenAddress, ServerConfig
from ..config.settings import SETTINGS
from ..errors import InternalError, ProxyError
from ..model import Challenge, Classified, Credentials, FinishedExchange, Interaction, Rejection

Message = dict[str, object]

ERRORS: Mapping[str, type[ProxyError]] = MappingProxyType(
    {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, ProxyError)
    }
)
"""Every failure by the name of its class."""

SIGN_IN_SECRETS = frozenset(key for key, setting in SETTINGS.items() if setting.is_secret) - {"key"}
"""Settings that no worker gets: it never signs in."""


SUPERVISORS = frozenset({"admin_listen", "workers"})
"""Settings of the process that are not for workers."""


class _Words(Struct, frozen=True):
    def plain(self) -> Message:
        """These words as plain values."""
        message: Message = to_builtins(self)
        return message

    @classmethod
    def heard(cls, message: object) -> Self:
        """The words of a message; raises msgspec.ValidationError, a ValueError, where they are others."""
        return convert(message, cls)


class ErrorWords(_Words, frozen=True):
    """A ProxyError."""

    kind: str
    message: str
    hint: str
    retry_after: int | None

    @classmethod
    def of(cls, error: ProxyError) -> ErrorWords:
        """The words for an error."""
        return cls(
            kind=type(error).__name__, message=error.message, hint=error.hint, retry_after=error.retry_after
        )

    def read(self) -> ProxyError:
        """The error."""
        kind = ERRORS.get(self.kind, InternalError)
        return kind(self.message, hint=self.hint, retry_after=self.retry_after)


class FinishedWords(_Words, frozen=True):
    """A FinishedExchange, with the sign-in that it was of."""

    sign_in: int
    interaction: str | None
    resource_type: str
    operation: str
    status: int
    received_bytes: int
    sent_bytes: int
    seconds: float
    upstream_seconds: float | None
    attempts: int
    request_id: str
    failed: ErrorWords | None
    account: str

    @classmethod
    def of(cls, sign_in: int, exchange: FinishedExchange) -> FinishedWords:
        """The words for an exchange."""
        classified = exchange.classified
        return cls(
            sign_in=sign_in,
            interaction=classified.interaction.value if classified else None,
            resource_type=classified.resource_type if classified else "",
            operation=classified.operation if classified else "",
            status=exchange.status,
            received_bytes=exchange.received_bytes,
            sent_bytes=exchange.sent_bytes,
            seconds=exchange.seconds,
            upstream_seconds=exchange.upstream_seconds,
            attempts=exchange.attempts,
            request_id=exchange.request_id,
            failed=ErrorWords.of(exchange.failed) if exchange.failed else None,
            account=exchange.account,
        )

    def read(self) -> FinishedExchange:
        """The exchange."""
        classified = self.interaction and Classified(
            Interaction(self.interaction), self.resource_type, self.operation
        )
        return FinishedExchange(
            classified=classified or None,
            status=self.status,
            received_bytes=self.received_bytes,
            sent_bytes=self.sent_bytes,
            seconds=self.seconds,
            upstream_seconds=self.upstream_seconds,
            attempts=self.attempts,
            request_id=self.request_id,
            failed=self.failed.read() if self.failed else None,
            account=self.account,
        )


class FinishedBatch(_Words, frozen=True):
    """Exchanges that are over since the last time."""

    exchanges: list[FinishedWords]


class ChallengeWords(_Words, frozen=True):
    """A Challenge."""

    scheme: str
    parameters: dict[str, str]


class CredentialsQuestion(_Words, frozen=True):
    """What a worker needs credentials for; `refused` are some that the server has refused."""

    sign_in: int
    for_storage: bool
    is_rejected: bool = False
    refused: str | None = None
    challenges: tuple[ChallengeWords, ...] = ()

    @classmethod
    def of(cls, sign_in: int, rejected: Rejection | None, *, for_storage: bool) -> CredentialsQuestion:
        """The question."""
        if rejected is None:
            return cls(sign_in=sign_in, for_storage=for_storage)
        return cls(
            sign_in=sign_in,
            for_storage=for_storage,
            is_rejected=True,
            refused=rejected.credentials.authorization.decode("latin-1") if rejected.credentials else None,
            challenges=tuple(
                ChallengeWords(scheme=challenge.scheme, parameters=dict(challenge.parameters))
                for challenge in rejected.challenges
            ),
        )

    @property
    def rejected(self) -> Rejection | None:
        """What the server has refused."""
        if not self.is_rejected:
            return None
        return Rejection(
            None
            if self.refused is None
            else Credentials(self.refused.encode("latin-1"), for_storage=self.for_storage),
            tuple(Challenge(challenge.scheme, challenge.parameters) for challenge in self.challenges),
        )


class CredentialsAnswer(_Words, frozen=True):
    """Credentials, None for a server that takes requests without any, and how long they may be used unasked."""

    authorization: str | None
    seconds: float


class Left(_Words, frozen=True):
    """A sign-in that a worker needs no more."""

    sign_in: int


class Level(_Words, frozen=True):
    """What is open at one listener of a worker, as `admin.levels` shows it."""

    listen: str
    connections: int
    upstream_connections: int
    pause_seconds: float
    concurrency_limit: float


class LevelsAnswer(_Words, frozen=True):
    """Every listener's."""

    levels: list[Level]


class ServerPart(_Words, frozen=True):
    """One server for a worker: its settings and the number of its sign-in."""

    settings: dict[str, object]
    sign_in: int


class Settings(_Words, frozen=True):
    """All that a worker serves by."""

    servers: list[ServerPart]
    process: dict[str, object]

    @classmethod
    def of(cls, config: Config, servers: Iterable[tuple[ServerConfig, ListenAddress, int]]) -> Settings:
        """The settings for servers, each with the address that is held for it and the number of its sign-in."""
        return cls(
            servers=[
                ServerPart(settings=_server_settings(server, listen), sign_in=sign_in)
                for server, listen, sign_in in servers
            ],
            process=_without(config.plain(), {"servers", *SUPERVISORS}),
        )

    @property
    def config(self) -> Config:
        """The configuration of the worker."""
        servers = [server.settings for server in self.servers]
        return Config.of({**self.process, "server": servers})

    @property
    def sign_ins(self) -> dict[str, int]:
        """The number of each server's sign-in, by its listener."""
        return {str(server.settings["listen"]): server.sign_in for server in self.servers}


def _server_settings(server: ServerConfig, listen: ListenAddress) -> dict[str, object]:
    settings = _without(server.plain(), SIGN_IN_SECRETS)
    return settings | {"listen": str(listen), "key": server.key and server.key.value}


def _without(settings: Mapping[str, object], keys: Container[str]) -> dict[str, object]:
    return {key: value for key, value in settings.items() if key not in keys}
