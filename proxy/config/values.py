"""Single values of settings, read from text; each ValueError is a phrase that follows the value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Annotated

from msgspec import Meta

from ..model import BaseUrl, Interaction, is_loopback
from .reading import Reads

# A reg-name of RFC 3986 section 3.2.2 without percent-encoding; with underscores, which container names have.
_HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?")
_HOST_AND_PORT = re.compile(rf"(?:\[[0-9A-Fa-f:.]+\]|{_HOST_NAME.pattern})(?::[0-9]{{1,5}})?")
_NAME_AND_PORT = re.compile(rf"{_HOST_NAME.pattern}(?::[0-9]{{1,5}})?")
_TENANT_ID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
# A GUID, a verified domain, or one of Entra's words such as "organizations": nothing that could leave its
# segment of the authority's path.
_TENANT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_ORIGIN = re.compile(
    r"(?P<scheme>https?)://(?:\[[0-9a-f:.]+\]|[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?)(?::(?P<port>[1-9][0-9]{0,4}))?"
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_OPERATION = re.compile(r"\$[A-Za-z][A-Za-z0-9-]{0,63}")

ALLOWABLE = tuple(kind.value for kind in Interaction if kind is not Interaction.BATCH)
"""The interactions that `allow` may name; a batch is what its entries are."""

MASK = "********"
"""What is shown of a secret."""

OFF = "off"
"""What is written for a listener that is not wanted."""

_HTTP_PORT = 80
_HTTPS_URL = re.compile(rf"https://{_HOST_NAME.pattern}(?::[0-9]{{1,5}})?(?:[/?][!-~]*)?")

TOKEN_CACHES = ("auto", "encrypted", "file", "none")
"""Where a person's sign-in is kept on this machine; else it is the URL of a Redis."""

# RFC 3986 section 3.2.1 for the user. No query: the redis client would read its settings from it, even those that
# switch the check of certificates off.
_REDIS_URL = re.compile(
    r"rediss?://(?:(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*(?::(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})*)?@)?"
    rf"(?:\[[0-9A-Fa-f:.]+\]|{_HOST_NAME.pattern})(?::(?P<port>[0-9]{{1,5}}))?(?:/[0-9]{{0,5}})?"
)

WILDCARD_HOSTS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - named in order to be recognized


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where a listener accepts: host (a name or an unbracketed address) and port; 0 takes a free one.

    A `path` is a Unix socket's instead: tools call it as localhost without a port.
    """

    host: str
    port: int
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> ListenAddress:
        """Read `host:port`, `[v6]:port`, a port alone, which means localhost, or `unix:/path`."""
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            if not path.startswith("/") or path.endswith("/") or not path.isprintable():
                raise ValueError("has no path from the root; write unix:/run/user/1000/fhir/proxy.sock")
            return cls("localhost", _HTTP_PORT, path)
        if "/" in text:
            raise ValueError("is a URL or a path; write host and port alone, such as localhost:8080")
        host, separator, port_text = text.rpartition(":")
        if not separator:
            host = "localhost"
        if not host:
            raise ValueError("names no host; write localhost:8080")
        if not (re.fullmatch(r"[0-9]{1,5}", port_text) and int(port_text) <= 65535):
            raise ValueError("has a port that is not a number from 0 to 65535")
        return cls(_read_host(host), int(port_text))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the listener."""
        return is_loopback(self.host)

    def overlaps(self, other: ListenAddress) -> bool:
        """Whether both cannot accept at the same time."""
        if self.path or other.path:
            return self.path == other.path
        if self.port != other.port or self.port == 0:
            return False
        hosts = {self.host, other.host}
        return (
            len(hosts) == 1
            or not hosts.isdisjoint(WILDCARD_HOSTS)
            or ("localhost" in hosts and self.is_loopback and other.is_loopback)
        )

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A value that nothing prints."""

    value: str

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"


def _read_host(text: str) -> str:
    if text.startswith("[") and text.endswith("]"):
        try:
            return str(IPv6Address(text[1:-1]))
        except ValueError:
            raise ValueError("has brackets around what is not an IPv6 address") from None
    if ":" in text:
        raise ValueError("is an IPv6 address without brackets; write [::1]:8080")
    if not _HOST_NAME.fullmatch(text):
        raise ValueError("has a host that is neither a name nor an address")
    return text.lower()


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("is not text")  # noqa: TRY004 - what read() hears
    return value


def _base_url(value: object) -> BaseUrl:
    return value if isinstance(value, BaseUrl) else BaseUrl.parse(_text(value))


def _listen(value: object) -> ListenAddress:
    if isinstance(value, ListenAddress):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError("is neither text nor a port")  # noqa: TRY004 - what read() hears
    return ListenAddress.parse(value)


def _admin_listen(value: object) -> ListenAddress | None:
    return None if value == OFF else _listen(value)


def _secret(value: object) -> Secret:
    return value if isinstance(value, Secret) else Secret(_text(value))


def _authority_host(text: str) -> str:
    # Azure's own tools take a host or an https URL, and AKS sets one with a slash at its end.
    host = text.lower().removeprefix("https://").removesuffix("/")
    if host and not _HOST_AND_PORT.fullmatch(host):
        raise ValueError("is not a host such as login.microsoftonline.us, nor an https URL of one")
    return host


def _allowed_host(text: str) -> str:
    if "*" in text:
        raise ValueError(
            "is a pattern; name each host, since any web page could use a name that a pattern lets in"
        )
    if not _HOST_AND_PORT.fullmatch(text):
        raise ValueError("is not a host name, with or without a port")
    return text.lower()


def _storage_account(text: str) -> str:
    if not _NAME_AND_PORT.fullmatch(text):
        raise ValueError(
            "is not one host; write it as in account.blob.core.windows.net, without https:// or a path"
        )
    return BaseUrl.parse(f"https://{text}").authority


def _allowed_origin(text: str) -> str:
    if text in {"null", "*"}:
        raise ValueError(
            "would let in pages that nobody knows; name each origin, such as http://localhost:3000"
        )
    found = _ORIGIN.fullmatch(text)
    if not found:
        raise ValueError(
            "is not an origin as browsers send it: scheme and host in lower case, and no slash at the end"
        )
    if found["port"] == str(_DEFAULT_PORTS[found["scheme"]]) or int(found["port"] or 1) > 65535:
        raise ValueError("has a port that no browser sends; leave it out where it is the scheme's own")
    return text


def _https_url(text: str) -> str:
    if text and not _HTTPS_URL.fullmatch(text):
        raise ValueError("is not an https URL")
    return text


def _token_cache(text: str) -> str:
    if text in TOKEN_CACHES:
        return text
    found = _REDIS_URL.fullmatch(text)
    if found is None:
        raise ValueError(
            f"is neither one of {', '.join(TOKEN_CACHES)} nor a URL rediss://[user:password@]host[:port][/database]"
            ", with what is no letter or digit in user and password percent-encoded"
        )
    if int(found["port"] or 0) > 65535:
        raise ValueError("has a port that is not a number from 0 to 65535")
    return text


def _tenant(text: str) -> str:
    if text and not _TENANT.fullmatch(text):
        raise ValueError("is neither a GUID nor a domain name")
    return text


def _allowed_interaction(text: str) -> str:
    if _OPERATION.fullmatch(text):
        return text.lower()
    if text == Interaction.BATCH.value:
        raise ValueError("needs no name: a batch is allowed where all of its entries are")
    if text not in ALLOWABLE:
        raise ValueError(f"is neither an operation such as $everything nor one of {', '.join(ALLOWABLE)}")
    return text


def _tenant_id(text: str) -> str:
    if text and not _TENANT_ID.fullmatch(text):
        raise ValueError("is not a tenant's GUID, which tokens are compared by")
    return text.lower()


_READS_URL = Reads(_base_url, {"type": "string", "format": "uri"})
UrlSetting = Annotated[BaseUrl, _READS_URL]
OptionalUrlSetting = Annotated[BaseUrl | None, _READS_URL]
ListenSetting = Annotated[
    ListenAddress,
    Reads(
        _listen,
        {
            "type": ["string", "integer"],
            "examples": ["localhost:8080", "127.0.0.1:0", 8081, "unix:/run/user/1000/fhir/proxy.sock"],
        },
    ),
]
AdminListenSetting = Annotated[
    ListenAddress | None,
    Reads(
        _admin_listen,
        {"type": ["string", "integer"], "examples": ["localhost:8079", "0.0.0.0:8079", OFF]},
    ),
]
SecretSetting = Annotated[
    Secret | None, Reads(_secret, {"type": "string", "format": "password", "writeOnly": True})
]
AuthorityHost = Annotated[str, Reads(_authority_host)]
AllowedInteraction = Annotated[str, Reads(_allowed_interaction)]
AllowedOrigin = Annotated[str, Reads(_allowed_origin)]
AllowedHost = Annotated[str, Reads(_allowed_host)]
StorageAccount = Annotated[str, Reads(_storage_account)]
"""Host and port of what speaks https; 443 is left out."""
HttpsUrl = Annotated[str, Reads(_https_url)]
"""A whole address with its query, unlike a base URL."""
TokenCache = Annotated[
    str,
    Reads(
        _token_cache,
        {"type": "string", "pattern": f"^(?:{'|'.join(TOKEN_CACHES)}|rediss?://.+)$"},
    ),
]
Tenant = Annotated[str, Reads(_tenant)]
TenantId = Annotated[str, Reads(_tenant_id)]
Port = Annotated[int, Meta(ge=0, le=65535)]
Connections = Annotated[int, Meta(ge=1, le=100_000)]
Workers = Annotated[int, Meta(ge=1, le=256)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
