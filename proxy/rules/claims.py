"""What an access token says of itself; unverified, so it is shown to people and decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from ..model import Credentials
from .challenges import one_line
from .tokens import Claims, claim_moment, claim_text, unverified_claims

_SCHEME = b"bearer "

# Entra ID's claims for a person in tokens of version 2.0 and 1.0, the most telling first
# (https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference).
_ACCOUNTS = ("preferred_username", "upn", "unique_name", "email", "name")
_APPLICATIONS = ("azp", "appid")

SHOWN = ("aud", "iss", "tid", "ver", "scp", "roles", "oid", "upn", "appid", "azp", "idtyp")
"""What a person is shown of a token; nothing of it opens anything."""


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
    claims = claims_of(credentials)
    return Identity(
        account=claim_text(claims, *_ACCOUNTS),
        application=claim_text(claims, *_APPLICATIONS),
        tenant=claim_text(claims, "tid"),
        expires_at=claim_moment(claims, "exp"),
    )


def claims_of(credentials: Credentials) -> Claims:
    """What a bearer token says of itself; nothing where it is opaque."""
    authorization = credentials.authorization
    if authorization[: len(_SCHEME)].lower() != _SCHEME:
        return {}
    return unverified_claims(authorization[len(_SCHEME) :].decode("latin-1"))


def account_name(claims: Claims) -> str:
    """Whose a token is, as people know them: a person, or the app where none delegated anything."""
    app = claim_text(claims, *_APPLICATIONS)
    if app and (claims.get("idtyp") == "app" or not claims.get("scp")):
        return f"the app {app}"
    return claim_text(claims, *_ACCOUNTS, "oid")


def shown(claims: Claims) -> dict[str, str]:
    """What a person is shown of a token, by the names of the claims; lists joined by a space."""
    texts = {name: _text(claims.get(name)) for name in SHOWN}
    moment = claim_moment(claims, "exp")
    if moment is not None:
        texts["exp"] = datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return {name: text for name, text in texts.items() if text}


def _text(value: object) -> str:
    if isinstance(value, list):
        value = " ".join(one for one in value if isinstance(one, str))
    return one_line(value) if isinstance(value, str) else ""
