"""What an access token says of itself; unverified, so it is shown to people and decides nothing."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass

from ..model import Credentials

LATEST = 253_402_300_799
"""Unix seconds of the last moment with four digits in its year."""

_SCHEME = b"bearer "

# Entra ID's claims for a person in tokens of version 2.0 and 1.0, the most telling first
# (https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference).
_ACCOUNTS = ("preferred_username", "upn", "unique_name", "email", "name")
_APPLICATIONS = ("azp", "appid")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a token stands for; empty words and None where it does not tell."""

    account: str = ""
    application: str = ""
    tenant: str = ""
    expires_at: float | None = None
    """Unix seconds."""


def identity(credentials: Credentials) -> Identity:
    """The identity of a bearer token that is a JWT; an empty one for any other."""
    authorization = credentials.authorization
    if authorization[: len(_SCHEME)].lower() != _SCHEME:
        return Identity()
    claims = _claims(authorization[len(_SCHEME) :])
    return Identity(
        account=_first(claims, _ACCOUNTS),
        application=_first(claims, _APPLICATIONS),
        tenant=_first(claims, ("tid",)),
        expires_at=_moment(claims.get("exp")),
    )


def _claims(token: bytes) -> Mapping[str, object]:
    """The payload of a JWS in compact form (RFC 7515 section 7.1)."""
    parts = token.split(b".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + b"=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError, binascii.Error):
        return {}
    return claims if isinstance(claims, dict) else {}


def _first(claims: Mapping[str, object], names: tuple[str, ...]) -> str:
    """The first claim that is text, on one line."""
    for name in names:
        value = claims.get(name)
        if isinstance(value, str) and value:
            return "".join(character if character.isprintable() else " " for character in value)[:200]
    return ""


def _moment(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LATEST:
        return None
    return float(value)
