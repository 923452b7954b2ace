"""What an access token says of itself, and what to tell a person when the server needs something else.

Nothing here is trusted and nothing is blocked by it: to its client a token is opaque (RFC 6749 section 1.4).
It is read because nine of ten failures stand in it: the audience, the tenant, the scope, the clock.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..config import ServerConfig
from .audiences import OTHER_SERVICES
from .challenges import one_line

Claims = Mapping[str, object]
"""The claims of a token, unverified; none for an opaque or encrypted one."""

SCOPE = "user_impersonation"
"""What Azure Health Data Services wants in the `scp` of a person's token."""

CLOCK_TOLERANCE = 300.0
"""Seconds by which clocks may differ: servers with Microsoft's libraries allow as much."""

_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is off: what it is about, in one word; what is the case; what to do."""

    subject: str
    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.message} {self.fix}"


def unverified_claims(token: str) -> Claims:
    """The claims of a JWT (RFC 7519 section 3); none for whatever else it may be."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError, binascii.Error):
        return {}
    return claims if isinstance(claims, dict) else {}


def claim_text(claims: Claims, *names: str) -> str:
    """The first claim of these names that is a text, in one bounded line; empty where there is none."""
    found = (claims.get(name) for name in names)
    return next((one_line(value) for value in found if isinstance(value, str) and value), "")


def token_findings(claims: Claims, config: ServerConfig, *, now: float) -> tuple[Finding, ...]:
    """What is off about a token that was obtained for a server; `now` in Unix seconds."""
    return tuple(finding for check in CHECKS for finding in check(claims, config, now)) if claims else ()


def _audience(claims: Claims, config: ServerConfig, _now: float) -> Iterator[Finding]:
    given, expected = claim_text(claims, "aud"), config.audience or str(config.base_url)
    ours, theirs = _bare(expected), _bare(given)
    if not given or ours == theirs:
        return
    # Resources with tokens of version 2 put their application id there, whatever name they were asked by.
    if _GUID.fullmatch(theirs) and not _GUID.fullmatch(ours) and theirs not in OTHER_SERVICES:
        return
    yield Finding(
        "audience",
        f"The token is for the audience {given!r}, and {config.base_url} is expected to take {expected!r}.",
        "Obtain it for that audience; if the server wants another one, name that with --audience.",
    )


def _tenant(claims: Claims, config: ServerConfig, _now: float) -> Iterator[Finding]:
    given, expected = claim_text(claims, "tid").lower(), _configured_tenant(config)
    if given and expected and given != expected:
        yield Finding(
            "tenant",
            f"The token was issued by the tenant {given}, and {expected} is configured.",
            "Sign in to the tenant that the server belongs to (--tenant).",
        )


def _scope(claims: Claims, config: ServerConfig, _now: float) -> Iterator[Finding]:
    scopes = claim_text(claims, "scp").split()
    if SCOPE in scopes or (not scopes and claims.get("idtyp") != "user"):
        return
    held = f"holds {' '.join(scopes)!r}" if scopes else "holds no permission"
    yield Finding(
        "scope",
        f"The token {held} and not {SCOPE!r}, which {config.base_url} is expected to ask of a person.",
        f"Give the app registration the API permission {SCOPE} of the FHIR server, and consent to it.",
    )


def _clock(claims: Claims, _config: ServerConfig, now: float) -> Iterator[Finding]:
    begins = max(_moment(claims, "nbf"), _moment(claims, "iat"))
    ends = _moment(claims, "exp")
    if begins > now + CLOCK_TOLERANCE:
        said = f"The token begins to be good in {begins - now:.0f} seconds: the clock of this machine is slow"
    elif 0 < ends < now:
        said = (
            f"The token ended {now - ends:.0f} seconds ago: it is old, or the clock of this machine is fast"
        )
    else:
        return
    yield Finding("clock", f"{said}.", "Let the clock be set by network time.")


CHECKS = (_audience, _tenant, _scope, _clock)
"""Each looks at one claim, and tells what is off about it."""


def _bare(name: str) -> str:
    """An audience without what may differ: slash, case, and the prefixes of application ids."""
    return name.strip().rstrip("/").lower().removeprefix("spn:").removeprefix("api://")


def _configured_tenant(config: ServerConfig) -> str:
    """The tenant's GUID where the settings hold one; a domain name cannot be compared."""
    path = config.authority.path if config.authority is not None else ""
    candidates = (config.tenant.lower(), *reversed(path.lower().split("/")))
    return next((one for one in candidates if _GUID.fullmatch(one)), "")


def _moment(claims: Claims, name: str) -> float:
    value = claims.get(name)
    return 0.0 if isinstance(value, bool) or not isinstance(value, int | float) else float(value)
