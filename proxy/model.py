"""The values that travel between rooms: named by RFC 9110, RFC 6750 and FHIR, and never changed in place.

Heads hold bytes, since the proxy must not alter what it only carries: field values may hold any octet
(RFC 9110 section 5.5) and a request target is opaque to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv6Address, ip_address
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from .errors import ProxyError
from .fields import Fields

__all__ = [
    "DEFAULT_PORTS",
    "BaseUrl",
    "Challenge",
    "Classified",
    "Credentials",
    "Fields",
    "FinishedExchange",
    "Interaction",
    "Rejection",
    "RequestHead",
    "ResponseHead",
    "is_loopback",
]

DEFAULT_PORTS: Final = {"http": 80, "https": 443}

# RFC 3986 section 3.2.2, less what no resolver knows; with underscores, which container names have.
_HOST_NAME: Final = re.compile(r"[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?")
_BRACKETED: Final = re.compile(r"\[[0-9A-Fa-f:.]+\](?::[0-9]*)?")
# RFC 3986 section 3.3.
_PATH: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")


# Every exchange makes several of the values below that are not `frozen` and write their own `__init__`: freezing costs
# 1,500 instructions a field, and mypyc does not compile what `dataclass` makes. They are never changed all the same.


@dataclass(slots=True, unsafe_hash=True, init=False)
class RequestHead:
    """The head of a request: method, target as sent, fields, whether a body follows, and its HTTP version."""

    method: str
    target: bytes
    fields: Fields
    body_exists: bool
    version: tuple[int, int]

    def __init__(
        self,
        method: str,
        target: bytes,
        fields: Fields,
        body_exists: bool = False,
        version: tuple[int, int] = (1, 1),
    ) -> None:
        self.method = method
        self.target = target
        self.fields = fields
        self.body_exists = body_exists
        self.version = version

    @property
    def is_http_1_1(self) -> bool:
        """Whether the version is the one that almost every request has."""
        return self.version[0] == 1 and self.version[1] == 1


@dataclass(slots=True, unsafe_hash=True, init=False)
class ResponseHead:
    """The head of a final response (2xx to 5xx)."""

    status: int
    reason: bytes
    fields: Fields

    def __init__(self, status: int, reason: bytes, fields: Fields) -> None:
        self.status = status
        self.reason = reason
        self.fields = fields


@dataclass(frozen=True, slots=True)
class BaseUrl:
    """An absolute http or https URL under which a FHIR server answers (FHIR R4 section 3.1.0.1.2).

    `host` is lower-case, without brackets where it is an IPv6 address; `path` has no slash at its end and is
    empty for the root.
    """

    scheme: str
    host: str
    port: int
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> BaseUrl:
        """Read a base URL; ValueError says in words what is wrong with it."""
        if any(character <= " " or character in {"\x7f", "\\"} for character in text):
            raise ValueError("holds a space, a control character or a backslash")
        try:
            parts = urlsplit(text)
        except ValueError:
            raise ValueError("has a host that is neither a name nor an address") from None
        if parts.scheme not in DEFAULT_PORTS:
            raise ValueError("does not start with https:// or http://")
        if not parts.hostname:
            raise ValueError("names no host")
        if parts.username is not None or parts.password is not None:
            raise ValueError("holds a user name or password")
        if "?" in text or "#" in text:
            raise ValueError("holds a query or a fragment")
        try:
            port = parts.port
        except ValueError:
            raise ValueError("has a port that is not a number from 1 to 65535") from None
        if port == 0:
            raise ValueError("has port 0")
        path = parts.path.rstrip("/")
        # Servers differ in whether they decode a segment and cut its parameters before they look at its dots.
        if any(unquote(segment).partition(";")[0] in {"", ".", ".."} for segment in path.split("/")[1:]):
            raise ValueError("has a path with an empty or a dot segment")
        if not _PATH.fullmatch(path):
            raise ValueError("has a path that is not percent-encoded")
        return cls(parts.scheme, _read_host(parts), port or DEFAULT_PORTS[parts.scheme], path)

    @property
    def authority(self) -> str:
        """Host and port as they stand in a `Host` field: a default port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port (RFC 6454 section 6.2)."""
        return f"{self.scheme}://{self.authority}"

    @property
    def is_loopback(self) -> bool:
        """Whether the URL's host is this machine and nothing else."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        return self.origin + self.path


def _read_host(parts: SplitResult) -> str:
    """The host of a split URL in lower case, internationalized names as A-labels (RFC 5890)."""
    host = parts.hostname or ""
    try:
        if "[" in parts.netloc:
            # urlsplit of older Pythons overlooks what stands behind the bracket.
            return str(IPv6Address(host if _BRACKETED.fullmatch(parts.netloc) else ""))
        name = host.removesuffix(".")
        name = name if name.isascii() else name.encode("idna").decode("ascii")
    except ValueError:
        name = ""
    if not _HOST_NAME.fullmatch(name):
        raise ValueError("has a host that is neither a name nor an address")
    return name


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only mean this machine (RFC 6761 section 6.3, RFC 5735)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class Interaction(StrEnum):
    """What a request asks of a FHIR server (FHIR R4 section 3.1.0); its value is what logs show."""

    CAPABILITIES = "capabilities"
    READ = "read"
    VREAD = "vread"
    HISTORY_INSTANCE = "history-instance"
    HISTORY_TYPE = "history-type"
    HISTORY_SYSTEM = "history-system"
    SEARCH_TYPE = "search-type"
    SEARCH_SYSTEM = "search-system"
    SEARCH_COMPARTMENT = "search-compartment"
    CREATE = "create"
    UPDATE = "update"
    PATCH = "patch"
    DELETE = "delete"
    BATCH = "batch"
    OPERATION = "operation"
    JOB = "job"
    FILE = "file"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Classified:
    """A request's interaction with the resource type and operation it names; no id, no query."""

    interaction: Interaction
    resource_type: str = ""
    operation: str = ""
    _words: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Made once: the same one stands for all requests that ask for the same.
        words = f"{self.interaction} {self.resource_type} {self.operation}".rstrip().replace("  ", " ")
        object.__setattr__(self, "_words", words)

    def __str__(self) -> str:
        return self._words


@dataclass(slots=True, unsafe_hash=True, init=False)
class FinishedExchange:
    """An exchange when it is over; nothing in it is patient data."""

    classified: Classified | None
    """None for a request that the guards did not let in."""
    status: int
    """What the tool got; 499 where it left before it got anything."""
    received_bytes: int
    """Bytes of the request's body that came from the tool."""
    sent_bytes: int
    """Bytes of the answer's body that were sent to the tool."""
    seconds: float
    """From the request's head to the end of the answer."""
    upstream_seconds: float | None
    """Waited for the head of the server's answer; None where the server has answered nothing."""
    attempts: int
    """How often the request was made up for the server."""
    request_id: str
    failed: ProxyError | None
    account: str
    """The storage account that it was with; empty for the server."""

    def __init__(
        self,
        classified: Classified | None,
        status: int,
        received_bytes: int,
        sent_bytes: int,
        seconds: float,
        upstream_seconds: float | None,
        attempts: int,
        request_id: str,
        failed: ProxyError | None,
        account: str = "",
    ) -> None:
        self.classified = classified
        self.status = status
        self.received_bytes = received_bytes
        self.sent_bytes = sent_bytes
        self.seconds = seconds
        self.upstream_seconds = upstream_seconds
        self.attempts = attempts
        self.request_id = request_id
        self.failed = failed
        self.account = account

    @property
    def kind(self) -> str:
        """What it was: the name of its FHIR interaction, else "refused", or "preflight", which is none."""
        if self.classified is not None:
            return str(self.classified.interaction)
        return "preflight" if self.failed is None else "refused"


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge of a `WWW-Authenticate` field (RFC 9110 section 11.6.1); names in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What goes into the `Authorization` field; it never prints."""

    authorization: bytes = field(repr=False)
    for_storage: bool = False
    """Whether they open storage accounts and not the FHIR server: neither ever gets the other's."""
    token: bytes = field(init=False, repr=False, compare=False)
    """What stands behind the scheme."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "token", self.authorization.partition(b" ")[2])


@dataclass(frozen=True, slots=True)
class Rejection:
    """Credentials that the server refused, with the challenges of its 401; None where it got none."""

    credentials: Credentials | None
    challenges: tuple[Challenge, ...] = ()
