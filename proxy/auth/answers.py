"""What Entra ID answers -> a token, or the error that says who must act and how."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import IdentityProviderUnavailable, ProxyError, SignInRequired
from .aadsts import explain
from .registration import Registration
from .sources import AccessToken

Answer = Mapping[str, object]
"""The JSON object of a token endpoint (RFC 6749 section 5), with MSAL's additions."""

INTERACTIVE_ERRORS = frozenset(
    {"invalid_grant", "interaction_required", "login_required", "consent_required"}
)
"""OAuth errors after which a person may get further than a refresh token does (OpenID Connect Core
3.1.2.6)."""

LONGEST_TEXT = 400
"""Characters of a foreign text that are shown; Entra's descriptions have up to 350 and then identifiers."""

_IDENTIFIERS = re.compile(r"\s*(?:Trace ID|Correlation ID|Timestamp):.*", re.DOTALL)
"""The end of every `error_description`; the same identifiers stand in keys of their own."""

_OPAQUE = re.compile(r"eyJ[\w-]+(?:\.[\w-]*)*|[\w~+=-]{38,}")
"""What could be a token, a code or a secret: a JWT, or more characters in a row than a GUID's 36."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")
"""C0 and C1, and what is invisible or turns the direction of text."""

_IDENTIFIER_KEYS = (("trace_id", "trace"), ("correlation_id", "correlation"), ("timestamp", "at"))


def cleaned(text: str) -> str:
    """A foreign text as it may be logged and shown: its first line, bounded, without anything token-like."""
    line = next(iter(_IDENTIFIERS.sub("", text).strip().splitlines()), "")
    bounded = _OPAQUE.sub("[…]", _CONTROL.sub(" ", line)).strip()
    return bounded if len(bounded) <= LONGEST_TEXT else bounded[: LONGEST_TEXT - 1] + "…"


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked: for which registration, in which tenant, and whether a person took part."""

    registration: Registration
    tenant: str
    by_person: bool = True
    """Without a person, a refusal that asks for one is SignInRequired whatever its cause."""
    wrong_cloud: str = ""
    """What to tell first, where the server is of another cloud than the sign-in."""


def token(answer: Answer, question: Question, asked_at: float) -> AccessToken:
    """The token of an answer; its life counts from before the question, so that it never seems longer."""
    if "error" in answer:
        raise refusal(answer, question)
    value, expires_in = answer.get("access_token"), seconds(answer.get("expires_in"))
    if not isinstance(value, str) or not value:
        raise senseless("neither a token nor an error")
    refresh_in = expires_in
    if "refresh_on" in answer:  # MSAL has turned `refresh_in` into a moment of this machine's clock
        refresh_in = seconds(answer["refresh_on"]) - time.time()
    return AccessToken(value, asked_at + expires_in, asked_at + refresh_in)


def refusal(answer: Answer, question: Question) -> ProxyError:
    """The error for an answer with an `error` key (RFC 6749 section 5.2, with Entra's own keys)."""
    error = cleaned(str(answer.get("error", ""))) or "unknown_error"
    registration = question.registration
    explanation = explain(
        _codes(answer),
        error,
        cleaned(str(answer.get("suberror", ""))),
        base_url=registration.base_url,
        client_id=registration.client_id,
        tenant=question.tenant,
        audience=registration.audience,
    )
    kind = explanation.error_class
    if not question.by_person and error in INTERACTIVE_ERRORS:
        kind = SignInRequired
    description = cleaned(str(answer.get("error_description", ""))) or error
    identifiers = ", ".join(
        f"{label} {cleaned(str(answer[key]))}" for key, label in _IDENTIFIER_KEYS if answer.get(key)
    )
    said = f"{description} [{identifiers}]" if identifiers else description
    cloud = f"{question.wrong_cloud}." if question.wrong_cloud else ""
    hint = " ".join(part for part in (cloud, explanation.fix, explanation.link) if part)
    return kind(f"{explanation.cause} Entra ID says: {said}", hint=hint)


def senseless(what: str) -> IdentityProviderUnavailable:
    """The error for an answer that is neither a token nor a refusal."""
    return IdentityProviderUnavailable(
        f"Entra ID gave an answer that makes no sense ({what})",
        hint="Try again. If it stays, look for a gateway on the way to Entra ID that answers in its place.",
    )


def seconds(value: object) -> float:
    """A number of seconds, which some servers send as text."""
    try:
        return float(value) if isinstance(value, int | float | str) else 0.0
    except ValueError:
        return 0.0


def _codes(answer: Answer) -> tuple[int, ...]:
    """The AADSTS numbers: from `error_codes`, or from the text where a browser brought the refusal."""
    codes = answer.get("error_codes")
    if isinstance(codes, list):
        return tuple(code for code in codes if isinstance(code, int))
    found = re.match(r"AADSTS(\d{4,8})\b", str(answer.get("error_description", "")))
    return (int(found[1]),) if found else ()
