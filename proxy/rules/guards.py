"""Reasons to refuse a request, each one function and one row of the table at the end.

Whatever reaches the port acts as the signed-in user on patient records, so all of them run before anything
is read or sent. A target that is not plain is refused, never normalised: the server might read it otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hmac import compare_digest
from typing import Final

from ..errors import (
    BadRequest,
    FieldsTooLarge,
    MethodNotAllowed,
    Misdirected,
    RequestRefused,
    TargetTooLong,
)
from ..model import RequestHead
from .listener import Listener, shows_key

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
"""Those of FHIR's RESTful API (FHIR R5 section 3.2.0); TRACE would echo the token."""

LONGEST_TARGET: Final = 32 * 1024
"""Bytes; paging tokens of Microsoft's server exceed 4 KiB, and its own bound for all fields is 32 KiB."""

LARGEST_FIELDS: Final = 32 * 1024
"""Bytes of all names, values and their separators; the bound of Microsoft's server (Kestrel's default)."""


def guard(head: RequestHead, listener: Listener) -> None:
    """Return if the request may be forwarded; else raise the RequestRefused that says why it may not."""
    for check in _GUARDS:
        check(head, listener)


def guard_preflight(head: RequestHead, listener: Listener) -> None:
    """As `guard`, for a preflight: it can show no key, and its method is not one that is forwarded."""
    for check in _PREFLIGHT_GUARDS:
        check(head, listener)


def _version(head: RequestHead, _: Listener) -> None:
    """The parser reads HTTP/0.9 and HTTP/2.0 as well, whose messages end elsewhere."""
    if head.version not in {(1, 0), (1, 1)}:
        major, minor = head.version
        raise BadRequest(f"HTTP/{major}.{minor} is not spoken here", hint="Use HTTP/1.1.")


def _host(head: RequestHead, listener: Listener) -> None:
    """DNS rebinding: a page whose name was made to resolve to loopback is same-origin with what it calls."""
    hosts = head.fields.get_all(b"host")
    if len(hosts) != 1 or not hosts[0]:
        found = "an empty Host field" if len(hosts) == 1 else f"{len(hosts)} Host fields"
        raise BadRequest(
            f"The request has {found}",
            hint="HTTP/1.1 asks for exactly one (RFC 9112 section 3.2).",
        )
    if hosts[0].lower() not in listener.authorities:
        # The names it does answer to are not told: a rebinding page could read them here.
        raise Misdirected(
            f"Host {_shown(hosts[0])} is not this proxy",
            hint="Call it by localhost and its port, or add the name to the setting allowed_hosts.",
        )


def _origin(head: RequestHead, listener: Listener) -> None:
    """Pages of other sites can POST without a preflight; membership alone, for look-alikes are cheap."""
    for origin in head.fields.get_all(b"origin"):
        if origin not in listener.origins:
            raise RequestRefused(
                f"Origin {_shown(origin)} may not use this proxy",
                hint="Web pages are refused; allow_origins lets those of one origin in.",
            )


def _fetch_site(head: RequestHead, _: Listener) -> None:
    """`<img>` and `<script>` of other sites send no Origin, but browsers say where they come from."""
    if b"origin" in head.fields:
        return  # Its origin is allowed, and then it may be a cross-site one.
    for site in head.fields.get_all(b"sec-fetch-site"):
        if site not in {b"none", b"same-origin"}:
            raise RequestRefused(
                f"Sec-Fetch-Site {_shown(site)} may not use this proxy",
                hint="A web page of another site made the request. Type the address or use a FHIR tool.",
            )


def _key(head: RequestHead, listener: Listener) -> None:
    """Other users of the machine reach its ports as well as its owner does."""
    if not listener.key:
        return
    shown = head.fields.get_all(b"x-proxy-key")
    if len(shown) == 1 and compare_digest(shown[0], listener.key):
        return
    if not shows_key(head.target, listener.key):
        raise RequestRefused(
            "The request does not show this proxy's key, or not the right one",
            hint="Send it as the field X-Proxy-Key, or put /k/KEY before the path.",
        )


def _method(head: RequestHead, _: Listener) -> None:
    if head.method not in METHODS:
        raise MethodNotAllowed(
            f"Method {_shown(head.method.encode('utf-8', 'replace'))} is not one that FHIR uses",
            hint=f"Use one of {', '.join(METHODS)}.",
        )


def _target_length(head: RequestHead, _: Listener) -> None:
    if len(head.target) > LONGEST_TARGET:
        raise TargetTooLong(
            f"The request target has {len(head.target)} bytes, more than {LONGEST_TARGET}",
            hint="Send the search as POST [type]/_search.",
        )


# A path may hold ids, so a message shows what is wrong in it and nothing else. What any server reads as a
# dot, a slash or the path's end counts as one: `..;x` (Tomcat), `..%20` and `..\` (Windows), `%2e`.
# FHIR's paths are ASCII; without other bytes there are no overlong or full-width dots (%C0%AE, %EF%BC%8E).
_ODD_IN_PATH: Final = (
    (re.compile(rb"\\"), "a backslash"),
    (
        re.compile(rb"%(?:2f|5c|25|7f|[01][0-9a-f]|[89a-f][0-9a-f])", re.IGNORECASE),
        "an encoded byte that no FHIR path has",
    ),
    (re.compile(rb"%(?![0-9a-f]{2})", re.IGNORECASE), "a percent sign that encodes nothing"),
    (re.compile(rb"/(?:%20)*(?:\.|%2e){1,2}(?:%20)*(?=/|;|%3b|%3f|%23|\Z)", re.IGNORECASE), "a dot segment"),
    (re.compile(rb"/(?=/|;|%3b|%3f|%23)", re.IGNORECASE), "an empty segment"),
)
# Nothing of that is in a path whose segments begin and go on like this: almost every one of a FHIR tool.
_PLAIN_PATH: Final = re.compile(rb"(?:/[A-Za-z0-9_$-][A-Za-z0-9_$.*-]*)+/?|/").fullmatch
_ODD_IN_TARGET: Final = re.compile(rb"[^!-~]|#")


def _target(head: RequestHead, _: Listener) -> None:
    """The base path is never left, and no other server is named; the query is FHIR's and passes as it is."""
    hint = "Send the path and query of a FHIR request, in plain ASCII."
    if not head.target.startswith(b"/"):
        raise BadRequest("The request target does not start with '/'", hint=hint)
    odd = _ODD_IN_TARGET.search(head.target)
    if odd:
        raise BadRequest(f"The request target holds the byte {_shown(odd[0])}", hint=hint)
    odd_in_path = oddity(head.target.partition(b"?")[0])
    if odd_in_path:
        raise BadRequest(f"The path holds {odd_in_path}", hint=hint)


def oddity(path: bytes) -> str:
    """What in a path servers might read differently from this proxy, in words; empty where it is plain."""
    if _PLAIN_PATH(path):
        return ""
    for pattern, words in _ODD_IN_PATH:
        found = pattern.search(path)
        if found:
            return f"{words}: {_shown(found[0])}"
    return ""


def _fields_size(head: RequestHead, _: Listener) -> None:
    size = sum(len(name) + len(value) + 4 for name, value in head.fields.lines)
    if size > LARGEST_FIELDS:
        raise FieldsTooLarge(
            f"The header section has {size} bytes, more than {LARGEST_FIELDS}",
            hint="Cookies of other applications on localhost add up; delete them, or send a shorter search.",
        )


_LENGTH: Final = re.compile(rb"[0-9]{1,18}").fullmatch


def _framing(head: RequestHead, _: Listener) -> None:
    """Request smuggling; the parser sees to these too, and the body is framed anew (RFC 9112 section 6.3)."""
    lengths = head.fields.get_all(b"content-length")
    codings = head.fields.get_all(b"transfer-encoding")
    hint = "Frame the body by one Content-Length or by 'Transfer-Encoding: chunked'."
    if lengths and codings:
        raise BadRequest("The request has Content-Length and Transfer-Encoding", hint=hint)
    if len(lengths) > 1 or len(codings) > 1:
        raise BadRequest("The request has more than one Content-Length or Transfer-Encoding", hint=hint)
    if lengths and not _LENGTH(lengths[0]):
        raise BadRequest(f"Content-Length {_shown(lengths[0])} is not a number", hint=hint)
    if codings and codings[0].lower() != b"chunked":
        raise BadRequest(f"Transfer-Encoding {_shown(codings[0])} is not 'chunked'", hint=hint)


_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch  # RFC 9110 section 5.6.2
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search


def _fields(head: RequestHead, _: Listener) -> None:
    """Lines that another parser would cut elsewhere (RFC 9110 section 5.5)."""
    for name, value in head.fields.lines:
        if not _TOKEN(name):
            raise BadRequest(f"The field name {_shown(name)} is not a token")
        if _CONTROL(value):
            raise BadRequest(f"The field {_shown(name)} holds a control character")


def _web_socket(head: RequestHead, _: Listener) -> None:
    """Browsers open these across origins freely; other upgrades are ignored (RFC 9110 section 7.8)."""
    upgrades = any(b"websocket" in value.lower() for value in head.fields.get_all(b"upgrade"))
    if upgrades or any(name.lower().startswith(b"sec-websocket-") for name, _ in head.fields.lines):
        raise BadRequest("The request asks for a WebSocket", hint="Use a subscription with a REST hook.")


Guard = Callable[[RequestHead, Listener], None]

_GUARDS: Final[tuple[Guard, ...]] = (
    _version,
    _host,
    _origin,
    _fetch_site,
    _key,
    _method,
    _target_length,
    _target,
    _fields_size,
    _framing,
    _fields,
    _web_socket,
)
_PREFLIGHT_GUARDS: Final = tuple(check for check in _GUARDS if check not in {_key, _method})

_OF_THE_LINE: Final[tuple[Guard, ...]] = (_version, _key, _method, _target_length, _target)
"""Those of them that look at more than the fields."""

# A target that none of these refuses, if there is no key to be shown in it: almost every one of a FHIR tool.
_PLAIN_TARGET: Final = re.compile(rb'(?:(?:/[A-Za-z0-9_$-][A-Za-z0-9_$.*-]*)+/?|/)(?:\?[!"$-~]*)?').fullmatch


def guard_line(head: RequestHead, listener: Listener) -> None:
    """The same for a request whose fields have passed the guards before."""
    if (
        head.is_http_1_1
        and head.method in METHODS
        and len(head.target) <= LONGEST_TARGET
        and _PLAIN_TARGET(head.target)
        and not listener.key
    ):
        return
    for check in _OF_THE_LINE:
        check(head, listener)


def _shown(value: bytes) -> str:
    """A value for a message: quoted, escaped, and no longer than the message bears."""
    text = repr(value[:100])[1:]
    return text if len(text) <= 100 else text[:100] + "..."
