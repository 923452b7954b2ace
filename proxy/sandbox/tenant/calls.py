"""One request to the tenant as its endpoints see it, and what is remembered of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web

from .errors import EntraError
from .faults import Endpoint


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """What a test may know of a request that came: never a secret, a code, a token or a password.

    `tenant` is the segment of the path, `claims` what the request wants tokens to hold, as JSON.
    """

    endpoint: Endpoint
    method: str
    tenant: str = ""
    client_id: str = ""
    grant_type: str = ""
    scope: str = ""
    claims: str = ""

    @property
    def has_claims(self) -> bool:
        """Whether a `claims` parameter was sent."""
        return bool(self.claims)


@dataclass(frozen=True, slots=True)
class Call:
    """A request's parameters: the query of a GET, the form of a POST; `lifetime` comes from a fault."""

    endpoint: Endpoint
    method: str
    segment: str
    form: Mapping[str, str] = field(repr=False)
    cookies: Mapping[str, str] = field(repr=False)
    correlation_id: str = ""
    lifetime: float | None = None

    @classmethod
    async def read(cls, endpoint: Endpoint, request: web.Request) -> Call:
        """Read a request; EntraError 9002313 where a parameter stands twice (RFC 6749 section 3.1)."""
        pairs = list((await request.post()).items() if request.method == "POST" else request.query.items())
        form = {name: value for name, value in pairs if isinstance(value, str)}
        if len(form) != len(pairs):
            raise EntraError(9002313, "a parameter stands twice, or is a file")
        return cls(
            endpoint,
            request.method,
            request.match_info.get("tenant", ""),
            form,
            request.cookies,
            request.headers.get("client-request-id", ""),
        )

    @property
    def record(self) -> RequestRecord:
        """What is remembered."""
        return RequestRecord(
            self.endpoint,
            self.method,
            self.segment,
            self.form.get("client_id", ""),
            self.form.get("grant_type", ""),
            self.form.get("scope", ""),
            self.form.get("claims", ""),
        )

    def require(self, name: str) -> str:
        """The value of a parameter; EntraError 900144 where it is missing or empty."""
        value = self.form.get(name, "")
        if not value:
            raise EntraError(900144, name)
        return value
