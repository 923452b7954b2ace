"""Which fields cross the proxy, and how they change.

Tools and servers rely on vendor fields (`x-ms-*`, `X-Provenance`, keys of API gateways), so what may not
cross is listed here, completely, and all else passes in its order and spelling. Names here are in lower case.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from ..fields import Line, Shape, picker
from ..model import Fields

# Towards the server and towards the tool ------------------------------------------------------------------

_HOP_BY_HOP: Final = frozenset(
    {  # RFC 9110 section 7.6.1; HTTP2-Settings: RFC 7540 section 3.2.1
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

_FOR_ALL_RECIPIENTS: Final = frozenset(
    {  # RFC 9110 section 7.6.1: never to be named by Connection; capsule-proxy PR 189: what happens otherwise
        b"accept",
        b"authorization",
        b"cache-control",
        b"content-encoding",
        b"content-length",
        b"content-location",
        b"content-range",
        b"content-type",
        b"etag",
        b"expect",
        b"host",
        b"if-match",
        b"if-modified-since",
        b"if-none-exist",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"last-modified",
        b"link",
        b"location",
        b"prefer",
        b"range",
        b"retry-after",
        b"www-authenticate",
    }
)

_CONNECTION_BOUND: Final = frozenset(
    {  # sign in a connection (RFC 4559 section 6), and one of the pool would serve other tools as that user
        b"credssp",
        b"kerberos",
        b"negotiate",
        b"nego2",
        b"ntlm",
    }
)

# Towards the server ---------------------------------------------------------------------------------------

REWRITE_FIELD: Final = b"x-fhir-auth-proxy-rewrite"
"""Addressed to this proxy: `off` leaves the bodies of this one exchange as they are."""

_TO_SERVER_EXCEPT_AUTHORIZATION: Final = _HOP_BY_HOP | {
    REWRITE_FIELD,
    b"host",  # replaced by the server's own
    # Credentials; cookies of every application on localhost arrive here, since they know no ports.
    b"cookie",
    b"cookie2",
    b"x-proxy-key",
    b"x-zumo-auth",
    # Where a request came from, and what for: Microsoft's server builds its links from these, whoever sent them.
    b"base-url",
    b"client-ip",
    b"disguised-host",
    b"early-data",
    b"forwarded",
    b"http-host",
    b"true-client-ip",
    b"was-default-hostname",
    b"x-client-ip",
    b"x-client-port",
    b"x-cluster-client-ip",
    b"x-host",
    b"x-http-host-override",
    b"x-ms-original-url",
    b"x-original-url",
    b"x-proxyuser-ip",
    b"x-real-ip",
    b"x-rewrite-url",
    b"x-url-scheme",
    # Method override: would make a write of what the guards and the interaction took for a read.
    b"x-http-method",
    b"x-http-method-override",
    b"x-method-override",
    # Identity that only a gateway in front of the server may state.
    b"client-cert",
    b"client-cert-chain",
    b"remote-user",
    b"x-client-cert",
    b"x-remote-user",
    b"x-webauth-user",
    # The browser's own.
    b"origin",
    b"referer",
    b"service-worker",
}
_TO_SERVER: Final = _TO_SERVER_EXCEPT_AUTHORIZATION | {b"authorization"}

_TO_SERVER_PREFIXES: Final = (
    b"access-control-request-",  # a preflight is answered here
    b"cf-access-",
    b"impersonate-",
    b"proxy-",
    b"sec-",
    b"ssl-client-",
    b"x-amzn-oidc-",
    b"x-arr-",
    b"x-auth-request-",
    b"x-azure-",
    b"x-envoy-",
    b"x-forwarded",  # X-Forwarded itself too
    b"x-goog-authenticated-user-",
    b"x-goog-iap-",
    b"x-ms-client-principal",
    b"x-ms-token-",
    b"x-original-",
    b"x-rewrite-",
    b"x-ssl-",
    b"x-waws-",
)

REQUEST_URL_FIELDS: Final = frozenset(
    {  # towards the server: text in which every local URL becomes the server's
        b"content-location",
        b"destination",
        b"if-none-exist",
        b"link",
        b"x-provenance",
    }
)
RESOURCE_FIELDS: Final = frozenset({b"x-provenance"})
"""Of those, the ones whose value is a resource, and can be signed as a body can."""

# Towards the tool -----------------------------------------------------------------------------------------

SECURITY_FIELDS: Final = (
    # HTML or SVG in a Binary, opened in a browser, runs in the proxy's origin and could read every record.
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Content-Security-Policy", b"default-src 'none'; sandbox; frame-ancestors 'none'"),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
    (b"Referrer-Policy", b"no-referrer"),
)

_SECURED: Final = Fields.written(SECURITY_FIELDS)
_UNCACHED: Final = Fields.written(((b"Cache-Control", b"no-store"), *SECURITY_FIELDS))

_TO_TOOL_EXCEPT_CHALLENGES: Final = (
    _HOP_BY_HOP
    | frozenset(name.lower() for name, _ in SECURITY_FIELDS)
    | {
        # What a browser would keep for the whole of localhost, whatever the port.
        b"accept-ch",
        b"accept-ch-lifetime",
        b"alt-svc",
        b"clear-site-data",
        b"critical-ch",
        b"expect-ct",
        b"origin-agent-cluster",
        b"public-key-pins",
        b"public-key-pins-report-only",
        b"service-worker-allowed",
        b"set-cookie",
        b"set-cookie2",
        b"set-login",
        b"strict-transport-security",
        b"use-as-dictionary",
        # What makes a browser report URLs, which hold patient data, to a collector.
        b"content-security-policy-report-only",
        b"cross-origin-embedder-policy-report-only",
        b"cross-origin-opener-policy-report-only",
        b"document-policy-report-only",
        b"nel",
        b"permissions-policy-report-only",
        b"report-to",
        b"reporting-endpoints",
        b"x-content-security-policy",
        b"x-content-security-policy-report-only",
        b"x-webkit-csp",
        b"x-webkit-csp-report-only",
        b"x-xss-protection",
        # What makes a browser, or a web server in front of this proxy, fetch or show something else.
        b"refresh",
        b"sourcemap",
        b"speculation-rules",
        b"x-lighttpd-send-file",
        b"x-sendfile",
        b"x-sourcemap",
        # What opens the answer to other origins.
        b"server-timing",
        b"timing-allow-origin",
        # A sign-in of the server's own.
        b"authentication-info",
    }
)
_TO_TOOL: Final = _TO_TOOL_EXCEPT_CHALLENGES | {b"www-authenticate"}

_TO_TOOL_PREFIXES: Final = (
    b"access-control-",  # HAPI's `Access-Control-Allow-Origin: *` would let any page read records
    b"attribution-reporting-",
    b"proxy-",  # Proxy-Status as well: it marks answers of this proxy itself
    b"sec-",
    b"secure-session-",
    b"x-accel-",
    b"x-fhir-auth-proxy-",  # ours to say
)

ATTEMPTS_FIELD: Final = b"X-Fhir-Auth-Proxy-Attempts"
"""Towards the tool: how often its request was sent, where that is more than once."""

RESPONSE_URL_FIELDS: Final = frozenset(
    {  # towards the tool: the whole value is one URL
        b"azure-asyncoperation",
        b"content-location",
        b"location",
        b"operation-location",
    }
)
RESPONSE_LINK_FIELDS: Final = frozenset({b"link"})
"""Towards the tool: each `<...>` is one URL (RFC 8288 section 3)."""


# Servers that map fields to CGI variables read X_Auth_User as X-Auth-User.
_PLAIN_NAME: Final = re.compile(rb"[a-z0-9-]+").fullmatch

_ELEMENTS: Final = re.compile(rb'(?:[^",]|"(?:[^"\\]|\\.)*+")+', re.DOTALL).findall
_NEW_CHALLENGE: Final = re.compile(
    rb"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:[ \t]+(?!=)\S.*|\s*)\Z", re.DOTALL
).match
_QUOTED_VALUE: Final = re.compile(rb'=[ \t]*"(?:[^"\\]|\\.)*+"', re.DOTALL)


def request_fields(
    fields: Fields, *, host: bytes, keep_authorization: bool, accept_encoding: bytes | None = None
) -> Fields:
    """The fields that go to the server, its own `Host` in front; `Authorization` is for the caller to add.

    `keep_authorization` lets the tool's own pass. `accept_encoding` replaces what the tool
    accepts; None leaves it. `Content-Length` stays: whoever changes the body drops it.
    """
    named = _named_by_connection(fields)
    dropped = _TO_SERVER_EXCEPT_AUTHORIZATION if keep_authorization else _TO_SERVER
    lines = [(b"Host", host)]
    for name, value in fields.lines:
        lower = name.lower()
        if (
            lower in dropped
            or lower in named
            or lower.startswith(_TO_SERVER_PREFIXES)
            or not _PLAIN_NAME(lower)
            or (lower == b"authorization" and _scheme(value) in _CONNECTION_BOUND)
            or (lower == b"accept-encoding" and accept_encoding is not None)
        ):
            continue
        lines.append((name, value))
    if accept_encoding is not None:
        lines.append((b"Accept-Encoding", accept_encoding))
    return Fields(tuple(lines))


def response_fields(fields: Fields, *, keep_challenges: bool) -> Fields:
    """The fields that go to the tool, ours at the end.

    `keep_challenges` lets the server's challenges pass, other than those that sign in a connection.
    """
    return crossing_of(fields, keep_challenges=keep_challenges).crossed(fields)


def crossing_of(
    fields: Fields, *, keep_challenges: bool, dropped: frozenset[bytes] | None = None
) -> Crossing:
    """How these fields, and all with the same names, go to the tool, less those to be `dropped` as well."""
    if dropped is None:
        return fields.shape.remember(keep_challenges, _with_challenges if keep_challenges else _with_none)
    usually = _TO_TOOL_EXCEPT_CHALLENGES if keep_challenges else _TO_TOOL
    return fields.shape.remember((keep_challenges, dropped), lambda shape: Crossing(shape, usually | dropped))


_NONE_NAMED: Final[frozenset[bytes]] = frozenset()


class Crossing:
    """Which of an answer's lines go to the tool, by their names, and what they get from us."""

    __slots__ = (
        "_connections",
        "_has_challenges",
        "_names",
        "_ours",
        "_pick",
        "_shape",
        "holds_urls",
    )

    def __init__(self, shape: Shape, dropped: frozenset[bytes]) -> None:
        kept = [
            place
            for place, name in enumerate(shape.names)
            if name not in dropped and not name.startswith(_TO_TOOL_PREFIXES)
        ]
        self._names = frozenset(shape.names[place] for place in kept)
        self._ours = _SECURED if b"cache-control" in shape.places else _UNCACHED
        self._pick = picker(kept)
        self._shape = Shape(
            tuple([shape.names[place] for place in kept] + [name for name, _ in self._ours.lines])
        )
        self._connections = shape.places.get(b"connection", ())
        self._has_challenges = b"www-authenticate" in self._names
        self.holds_urls = not (RESPONSE_URL_FIELDS | RESPONSE_LINK_FIELDS).isdisjoint(shape.places)

    def crossed(self, fields: Fields) -> Fields:
        """What goes to the tool of fields with these names, ours at the end."""
        places, named = self._connections, _NONE_NAMED
        if places and (len(places) > 1 or fields.value(places[0]) != b"keep-alive"):
            named = _named_by_connection(fields)
        if not self._has_challenges and named.isdisjoint(self._names):
            return fields.picked(self._pick, self._shape, self._ours)
        lines: tuple[Line, ...] = self._pick(fields.lines)
        if self._has_challenges:
            lines = tuple(line for line in map(_less_connection_bound, lines) if line is not None)
        return Fields(tuple([line for line in lines if line[0].lower() not in named]) + self._ours.lines)


def _with_challenges(shape: Shape) -> Crossing:
    return Crossing(shape, _TO_TOOL_EXCEPT_CHALLENGES)


def _with_none(shape: Shape) -> Crossing:
    return Crossing(shape, _TO_TOOL)


def _less_connection_bound(line: Line) -> Line | None:
    """A line less the challenges that sign in a connection; None where nothing is left of it."""
    if line[0].lower() != b"www-authenticate":
        return line
    kept = _without_connection_bound(line[1])
    return (line[0], kept) if kept else None


def _named_by_connection(fields: Fields) -> frozenset[bytes]:
    values = fields.get_all(b"connection")
    return _named(values[0]) if len(values) == 1 else frozenset().union(*map(_named, values))


@lru_cache(maxsize=64)
def _named(value: bytes) -> frozenset[bytes]:
    return frozenset({name.strip().lower() for name in value.split(b",")} - _FOR_ALL_RECIPIENTS)


def _scheme(value: bytes) -> bytes:
    words = value.split(None, 1)
    return words[0].lower() if words else b""


def _without_connection_bound(value: bytes) -> bytes:
    """The challenges of one line less those that sign in a connection; as it came where there are none.

    Empty where nothing is left, or where the line cannot be read, since a browser might read it otherwise.
    """
    if b'"' in _QUOTED_VALUE.sub(b"", value):
        return b""
    elements = _ELEMENTS(value)
    kept: list[bytes] = []
    removed = False
    for element in elements:
        start = _NEW_CHALLENGE(element)
        if start:
            removed = start[1].lower() in _CONNECTION_BOUND
        if not removed:
            kept.append(element)
    return value if len(kept) == len(elements) else b",".join(kept).strip()
