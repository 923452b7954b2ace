"""What a token says of itself, read without trusting it and compared with what the server asked for.

Clients have to treat access tokens as opaque (Microsoft, "Access tokens in the Microsoft identity platform"):
what is off here is a remark for a person, and the server alone decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import jwt

from ..auth.answers import cleaned
from ..auth.authorities import AUTHORITY_PARAMETERS, ORGANIZATIONS, authority
from ..auth.registration import Permission
from ..config import ServerConfig
from ..errors import ProxyError
from ..model import Challenge, Credentials
from ..rules.audiences import audience_mismatch
from ..rules.challenges import bearer_parameter
from .verdicts import Remark

PERSONAL_ACCOUNTS = "9188040d-6c67-4c5b-b112-36a304b66dad"
"""The tenant of personal Microsoft accounts (Microsoft, "ID token claims reference", tid)."""

GUID_LENGTH = 36

ACCOUNT_CLAIMS = ("upn", "preferred_username", "unique_name", "email")
"""Where tokens of either version name a person, the first that is there."""

SHOWN = ("aud", "iss", "tid", "ver", "scp", "roles", "oid", "upn", "appid", "azp", "idtyp")
"""What a person is shown of a token; nothing of it opens anything."""


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a JWT, unverified: texts, and lists of texts joined by a space."""

    texts: dict[str, str]
    expires_at: float | None = None
    """Unix seconds."""

    @classmethod
    def of(cls, credentials: Credentials) -> Claims | None:
        """The claims of a bearer token; None for one that is opaque or encrypted."""
        token = credentials.authorization.partition(b" ")[2]
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
        except jwt.PyJWTError:
            return None
        expiry = claims.get("exp")
        return cls(
            {name: text for name, value in claims.items() if (text := _text(value))},
            float(expiry) if isinstance(expiry, int | float) and 0 < expiry < 253_402_300_800 else None,
        )

    def __getitem__(self, name: str) -> str:
        return self.texts.get(name, "")

    @property
    def is_app(self) -> bool:
        """Whether the token is an app's own; a person's has the scopes that they delegated."""
        return self["idtyp"] == "app" or not self["scp"]

    @property
    def account(self) -> str:
        """Who signed in, as people know them; the app's id where none did."""
        person = next((self[name] for name in ACCOUNT_CLAIMS if self[name]), "")
        app = self["appid"] or self["azp"]
        return f"the app {app}" if self.is_app and app else person or self["oid"]

    def details(self) -> dict[str, str]:
        """What a person is shown."""
        shown = {name: cleaned(self[name]) for name in SHOWN if self[name]}
        if self.expires_at is not None:
            shown["exp"] = datetime.fromtimestamp(self.expires_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return shown


def remarks(
    config: ServerConfig, challenges: Sequence[Challenge], claims: Claims, now: float
) -> tuple[Remark, ...]:
    """What is off between a token and what the server asked for."""
    found = (
        _audience(config, challenges, claims),
        _tenant(config, challenges, claims),
        _permission(claims),
        _expiry(claims, now),
    )
    return tuple(remark for remark in found if remark is not None)


def _text(value: object) -> str:
    if isinstance(value, list):
        return " ".join(one for one in value if isinstance(one, str))
    return value if isinstance(value, str) else ""


def _audience(config: ServerConfig, challenges: Sequence[Challenge], claims: Claims) -> Remark | None:
    ours = claims["aud"]
    if ours and len(ours) == GUID_LENGTH and claims["ver"] == "2.0":
        return None  # Entra puts the API's application id where the scope named its URI.
    mismatch = audience_mismatch(config, challenges, ours)
    if mismatch:
        return Remark.parted(mismatch, "Check --audience.")
    expected = config.audience or str(config.base_url)
    if challenges or not ours or ours.rstrip("/").lower() == expected.rstrip("/").lower():
        return None
    return Remark(
        f"The token is for the audience {cleaned(ours)!r} and not for {expected!r}.", "Check --audience."
    )


def _tenant(config: ServerConfig, challenges: Sequence[Challenge], claims: Claims) -> Remark | None:
    ours = claims["tid"].lower()
    if ours == PERSONAL_ACCOUNTS:
        return Remark("A personal Microsoft account signed in.", "Sign in with a work or school account.")
    try:
        # What the server names counts here, whatever is configured.
        hinted = authority(config.model_copy(update={"tenant": "", "authority": None}), challenges)
    except ProxyError:
        return None
    wanted = hinted.tenant.lower() if hinted.discovered else ""
    if not bearer_parameter(challenges, AUTHORITY_PARAMETERS) or wanted in {"", ORGANIZATIONS, ours}:
        return None
    if not ours or len(wanted) != GUID_LENGTH:
        return None  # A domain name and a GUID can be the same tenant.
    return Remark(
        f"The token is of the tenant {ours}, and the server asks for {wanted}.",
        f"Use --tenant {wanted}; a person of another organization has to be invited there as a guest.",
    )


def _permission(claims: Claims) -> Remark | None:
    if claims.is_app or Permission.PERSON.value in claims["scp"].split():
        return None
    return Remark(
        f"The token permits {cleaned(claims['scp'])!r} and not {Permission.PERSON.value}.",
        "Give the app that permission of the FHIR API (App registrations > the app > API permissions > Add a "
        "permission), and sign in again.",
    )


def _expiry(claims: Claims, now: float) -> Remark | None:
    if claims.expires_at is None or claims.expires_at > now:
        return None
    return Remark(
        f"The token expired {now - claims.expires_at:.0f} seconds ago.", "Check the clock, or sign in again."
    )
