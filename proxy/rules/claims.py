"""What an access token says of itself; unverified, so it is shown to people and decides nothing."""

from __future__ import annotations

from dataclasses import dataclass

from ..model import Credentials
from .tokens import claim_text, unverified_claims

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
    claims = unverified_claims(authorization[len(_SCHEME) :].decode("latin-1"))
    return Identity(
        account=claim_text(claims, *_ACCOUNTS),
        application=claim_text(claims, *_APPLICATIONS),
        tenant=claim_text(claims, "tid"),
        expires_at=_moment(claims.get("exp")),
    )


def _moment(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LATEST:
        return None
    return float(value)
