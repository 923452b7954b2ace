"""What a program prints -> a token: JSON in the shapes that programs for this use, or the token alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from ..rules.tokens import LATEST
from .sources import AccessToken
from .token import Bearer

UNTOLD_LIFE = 300.0
"""Seconds that a token is used of which nobody says when it expires; then the program is asked again."""

JsonObject = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class _Shape:
    """Where a kind of program puts its token and its expiry, both seen from the object at `within`."""

    token: str
    expiry: tuple[tuple[str, Callable[[object, float], float | None]], ...]
    within: str = ""


def _moment(value: object, _asked_at: float) -> float | None:
    """Unix seconds, as a number or as text."""
    number = _number(value)
    return number if number is not None and 0 < number <= LATEST else None


def _life(value: object, asked_at: float) -> float | None:
    """Seconds from the moment of the question."""
    number = _number(value)
    return None if number is None else _moment(asked_at + number, asked_at)


def _date(value: object, _asked_at: float) -> float | None:
    """RFC 3339; a date without a zone, which older versions of az print in local time, says nothing."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment.timestamp() if moment is not None and moment.tzinfo is not None else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


SHAPES = (
    # https://kubernetes.io/docs/reference/config-api/client-authentication.v1/
    _Shape("token", (("expirationTimestamp", _date),), within="status"),
    # az account get-access-token
    _Shape("accessToken", (("expires_on", _moment), ("expiresOn", _date))),
    # a token endpoint (RFC 6749 section 5.1), and Azure's metadata service, which adds expires_on
    _Shape("access_token", (("expires_on", _moment), ("expires_in", _life))),
    # azd auth token
    _Shape("token", (("expiresOn", _date),)),
)


def printed_token(output: bytes, asked_at: float) -> AccessToken:
    """The token of an output; ValueError says in words what is wrong, and holds nothing of it.

    The expiry is what the program says, otherwise what the token says, otherwise UNTOLD_LIFE from now.
    """
    try:
        text = output.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ValueError("is not text") from None
    value, expires_at = text, None
    if text.startswith("{"):
        value, expires_at = _of_json(text, asked_at)
    bearer = Bearer.parse(value)
    expires_at = expires_at or bearer.expires_at or asked_at + UNTOLD_LIFE
    return AccessToken(
        bearer.credentials.authorization.decode("ascii").removeprefix("Bearer "), expires_at, expires_at
    )


def _of_json(text: str, asked_at: float) -> tuple[str, float | None]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("begins like JSON and is none") from None
    for shape in SHAPES:
        found = document.get(shape.within) if shape.within else document
        if isinstance(found, dict) and isinstance(value := found.get(shape.token), str) and value:
            moments = (read(found.get(key), asked_at) for key, read in shape.expiry)
            return value, next((moment for moment in moments if moment is not None), None)
    raise ValueError("is JSON in which no token is found")
