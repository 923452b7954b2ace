"""What an access token says of itself, and what to tell a person when the server needs something else.

Nothing here is trusted and nothing is blocked by it: to its client a token is opaque (RFC 6749 section 1.4).
It is read because nine of ten failures stand in it: the audience, the tenant, the scope, the clock.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..config import ServerConfig
from ..model import Challenge
from .audiences import OTHER_SERVICES, audience_mismatch
from .challenges import one_line

Claims = Mapping[str, object]
"""The claims of a token, unverified; none for an opaque or encrypted one."""

SCOPE = "user_impersonation"
"""What Azure Health Data Services wants in the `scp` of a person's token."""

PERSONAL_TENANT = "9188040d-6c67-4c5b-b112-36a304b66dad"
"""The tenant of Microsoft's personal accounts, the same in every cloud (Microsoft, "ID token claims": tid)."""

CLOCK_TOLERANCE = 300.0
"""Seconds by which clocks may differ: servers with Microsoft's libraries allow as much."""

LATEST = 253_402_300_799
"""Unix seconds of the last moment with four digits in its year."""

_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is off: what it is about, in one word; what is the case; what to do."""

    subject: str
    message: str
    fix: str

    @classmethod
    def parted(cls, subject: str, text: str, advice: str) -> Finding:
        """From a text whose way out stands behind a semicolon; `advice` where it has none."""
        message, _, fix = text.rstrip(".").partition("; ")
        return cls(subject, f"{message}.", f"{fix[:1].upper()}{fix[1:]}." if fix else advice)

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


def claim_moment(claims: Claims, name: str) -> float | None:
    """A claim's Unix seconds (RFC 7519 section 2, NumericDate); None for what is none."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LATEST:
        return None
    return float(value)


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token should be like: by the settings, and by what the server has said of itself."""

    config: ServerConfig
    now: float
    """Unix seconds."""
    challenges: Sequence[Challenge] = ()
    tenant: str = ""
    """The tenant that the server names, where it is one to be trusted; empty otherwise."""


def token_findings(
    claims: Claims,
    config: ServerConfig,
    *,
    now: float,
    challenges: Sequence[Challenge] = (),
    tenant: str = "",
) -> tuple[Finding, ...]:
    """What is off about a token that was obtained for a server; `now` in Unix seconds.

    What the server has said counts before the settings: its challenges, and the `tenant` that they name where
    that is one to be trusted.
    """
    expected = Expected(config, now, challenges, tenant.lower())
    return tuple(finding for check in CHECKS for finding in check(claims, expected)) if claims else ()


def _audience(claims: Claims, expected: Expected) -> Iterator[Finding]:
    given, config = claim_text(claims, "aud"), expected.config
    wanted = config.audience or str(config.base_url)
    ours, theirs = _bare(wanted), _bare(given)
    # Resources with tokens of version 2 put their application id there, whatever name they were asked by.
    is_application = _GUID.fullmatch(theirs) and not _GUID.fullmatch(ours) and theirs not in OTHER_SERVICES
    if not given or (is_application and claims.get("ver") != "1.0"):
        return
    if mismatch := audience_mismatch(config, expected.challenges, given):
        yield Finding.parted("audience", mismatch, "Check --audience.")
    elif ours != theirs and not expected.challenges:
        yield Finding(
            "audience",
            f"The token is for the audience {given!r}, and {config.base_url} is expected to take {wanted!r}.",
            "Obtain it for that audience; if the server wants another one, name that with --audience.",
        )


def _tenant(claims: Claims, expected: Expected) -> Iterator[Finding]:
    given, configured = claim_text(claims, "tid").lower(), _configured_tenant(expected.config)
    if given == PERSONAL_TENANT:
        yield Finding(
            "tenant", "A personal Microsoft account signed in.", "Sign in with a work or school account."
        )
    elif given and _GUID.fullmatch(expected.tenant):
        if given != expected.tenant:
            yield Finding(
                "tenant",
                f"The token is of the tenant {given}, and the server asks for {expected.tenant}.",
                f"Use --tenant {expected.tenant}; a person of another organization has to be invited there as "
                "a guest.",
            )
    elif given and configured and given != configured:
        yield Finding(
            "tenant",
            f"The token was issued by the tenant {given}, and {configured} is configured.",
            "Sign in to the tenant that the server belongs to (--tenant).",
        )


def _scope(claims: Claims, expected: Expected) -> Iterator[Finding]:
    scopes = claim_text(claims, "scp").split()
    if SCOPE in scopes or (not scopes and claims.get("idtyp") != "user"):
        return
    held = f"holds {' '.join(scopes)!r}" if scopes else "holds no permission"
    yield Finding(
        "scope",
        f"The token {held} and not {SCOPE!r}, which {expected.config.base_url} is expected to ask of a person.",
        f"Give the app registration the API permission {SCOPE} of the FHIR server, and consent to it.",
    )


def _clock(claims: Claims, expected: Expected) -> Iterator[Finding]:
    now = expected.now
    begins = max(claim_moment(claims, "nbf") or 0.0, claim_moment(claims, "iat") or 0.0)
    ends = claim_moment(claims, "exp") or 0.0
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
