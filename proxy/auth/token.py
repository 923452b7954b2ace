"""The method `token`: a bearer token that somebody else obtains, from a file or from the configuration.

The file is looked at for every request, by `stat`, which costs microseconds: whoever renews it, by rename or
in place, has the new token used at once. It is read again regardless when its token is about to expire or
was refused, since a clock's tick can hide a change.
"""

from __future__ import annotations

import codecs
import os
import re
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from ..config import ServerConfig
from ..errors import AuthenticationFailed, ConfigError, SignInRequired
from ..model import Credentials, Rejection
from ..rules.audiences import audience_mismatch
from ..rules.challenges import stated_error
from ..rules.tokens import Claims, claim_moment, unverified_claims
from .cache import FAILURE_PAUSE
from .clock import Clock
from .seams import Authenticator, Seams

NEAR_EXPIRY = 60.0
"""Seconds before its expiry from which a file is read for every request, whatever `stat` says of it."""

MARGIN = 5.0
"""Seconds before its expiry from which a token is not sent any more: it has to arrive alive."""

MAX_BYTES = 64 * 1024
"""Of a token file; Entra ID's largest tokens, with 200 groups, have some 10 KiB."""

_B64TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")  # RFC 6750 section 2.1
_PREFIX = re.compile(r"(?:Authorization:\s*)?Bearer(?:\s+|\Z)", re.IGNORECASE)

# PowerShell's `>` writes UTF-16 on Windows.
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True, slots=True)
class Bearer:
    """A token with what it says of itself, unverified; an opaque one says nothing."""

    credentials: Credentials
    expires_at: float | None = None
    """Unix seconds."""
    audience: str = ""

    @classmethod
    def parse(cls, text: str) -> Bearer:
        """Read a token as people paste it: white space, quotes and `Bearer` around it; ValueError for others.

        The error says in words what is wrong and holds nothing of the text.
        """
        value = _PREFIX.sub("", text.strip().strip("\"'").strip(), count=1)
        if not value:
            raise ValueError("is empty")
        if value.startswith("{"):
            raise ValueError("holds JSON and not a token alone")
        if not _B64TOKEN.fullmatch(value):
            raise ValueError("holds something else than one bearer token")
        claims = unverified_claims(value)
        return cls(
            Credentials(f"Bearer {value}".encode("ascii")), claim_moment(claims, "exp"), _audience(claims)
        )


class _Place(Protocol):
    """Where a token comes from."""

    name: str
    remedy: str

    def bearer(self, *, fresh: bool) -> Bearer:
        """The token that is there now, with `fresh` read anew; AuthenticationFailed if there is none."""


class _Setting:
    """A token in the configuration, which stays as it is."""

    name = "FHIR_AUTH_PROXY_TOKEN"
    remedy = (
        "Start the proxy with a new one in FHIR_AUTH_PROXY_TOKEN; one in a file (--token-file) can be "
        "replaced without a restart."
    )

    def __init__(self, text: str) -> None:
        try:
            self._bearer = Bearer.parse(text)
        except ValueError as error:
            raise ConfigError(f"The token in {self.name} {error}.", hint=self.remedy) from None

    def bearer(self, *, fresh: bool) -> Bearer:  # noqa: ARG002
        return self._bearer


class _File:
    """A token in a file, with the identity of the content that was read last."""

    def __init__(self, path: str, audience: str) -> None:
        self.name = path
        self.remedy = (
            f"Put a new one, alone, into {path}, as this prints it: az account get-access-token --resource "
            f"{audience} --query accessToken --output tsv. It is used from the next request on."
        )
        self._stamp: tuple[int, ...] | None = None
        self._bearer: Bearer | None = None

    def bearer(self, *, fresh: bool) -> Bearer:
        try:
            status = os.stat(self.name)
            if not stat.S_ISREG(status.st_mode):
                raise self._unusable("is not a regular file")  # opening a pipe would wait for its other end
            if fresh or self._bearer is None or self._stamp != _stamp(status):
                self._read()
        except OSError as error:
            raise self._unusable(f"cannot be read ({error.strerror or type(error).__name__})") from None
        except ValueError as error:
            raise self._unusable(str(error)) from None
        assert self._bearer is not None  # noqa: S101  just read
        return self._bearer

    def _read(self) -> None:
        self._bearer = None
        with open(self.name, "rb") as file:
            stamp = _stamp(os.fstat(file.fileno()))
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError(f"is larger than {MAX_BYTES // 1024} KiB")
        self._bearer, self._stamp = Bearer.parse(_text(content)), stamp

    def _unusable(self, words: str) -> AuthenticationFailed:
        return AuthenticationFailed(f"The token file {self.name} {words}.", hint=self.remedy)


class TokenAuthenticator:
    """An Authenticator for a token from elsewhere. ConfigError where there is no such setting.

    Raises SignInRequired for an expired token and AuthenticationFailed for one that is missing, unreadable or
    refused. A refused token that is still in place is tried again after FAILURE_PAUSE seconds: nobody could
    replace the one in the configuration, and servers refuse good tokens while rights spread.
    """

    def __init__(self, config: ServerConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._place: _Place
        if config.token_file:
            self._place = _File(config.token_file, config.audience or str(config.base_url))
        elif config.token is not None:
            self._place = _Setting(config.token.value)
        else:
            raise ConfigError(
                f'No token is given for {config.base_url}, which the method "token" needs.',
                hint="Name its file with --token-file, or put it into FHIR_AUTH_PROXY_TOKEN.",
            )
        self._refused: tuple[Credentials, AuthenticationFailed, float] | None = None

    async def credentials(self, rejected: Rejection | None = None) -> Credentials | None:
        """The token that is in place now."""
        now = self._clock.time()
        bearer = self._place.bearer(fresh=rejected is not None)
        if bearer.expires_at is not None and bearer.expires_at - NEAR_EXPIRY <= now:
            bearer = self._place.bearer(fresh=True)
        if bearer.expires_at is not None and bearer.expires_at - MARGIN <= now:
            raise self._expired(bearer.expires_at, now)
        if rejected is not None and rejected.credentials == bearer.credentials:
            self._refused = (bearer.credentials, self._refusal(rejected, bearer), now + FAILURE_PAUSE)
        self._raise_remembered(bearer.credentials, now)
        return bearer.credentials

    def held(self) -> Credentials | None:
        """The token that is in place now, where nothing is wrong with it."""
        if self._refused is not None:
            return None
        try:
            bearer = self._place.bearer(fresh=False)
        except AuthenticationFailed:
            return None
        if bearer.expires_at is not None and bearer.expires_at - NEAR_EXPIRY <= self._clock.time():
            return None
        return bearer.credentials

    async def close(self) -> None:
        """Nothing is under way, ever."""

    def _raise_remembered(self, credentials: Credentials, now: float) -> None:
        if self._refused is None:
            return
        refused, error, until = self._refused
        if refused == credentials and until - FAILURE_PAUSE <= now < until:
            raise AuthenticationFailed(error.message, hint=error.hint)
        self._refused = None

    def _expired(self, expires_at: float, now: float) -> SignInRequired:
        moment = datetime.fromtimestamp(expires_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        tense = "expires" if expires_at > now else "expired"
        return SignInRequired(
            f"The token in {self._place.name} {tense} at {moment}, {_span(now - expires_at)}.",
            hint=self._place.remedy,
        )

    def _refusal(self, rejected: Rejection, bearer: Bearer) -> AuthenticationFailed:
        said = stated_error(rejected.challenges)
        mismatch = audience_mismatch(self._config, rejected.challenges, bearer.audience)
        made_for = f"It was made for {bearer.audience!r}." if bearer.audience and not mismatch else mismatch
        return AuthenticationFailed(
            f"{self._config.base_url} refuses the token in {self._place.name}"
            + (f": {said}" if said else "."),
            hint=f"{made_for} {self._place.remedy}".strip(),
        )


def token(config: ServerConfig, seams: Seams) -> Authenticator:
    """A token that is given; ConfigError names what is missing."""
    return TokenAuthenticator(config, seams.clock)


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _text(content: bytes) -> str:
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        raise ValueError("does not hold text") from None


def _audience(claims: Claims) -> str:
    value = claims.get("aud")
    return value if isinstance(value, str) else ""


def _span(seconds: float) -> str:
    """How long ago something was, in the largest unit that fits."""
    if seconds < 0:
        return f"in {-seconds:.0f} seconds"
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return f"{seconds:.0f} seconds ago"
