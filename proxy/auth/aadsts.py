"""Entra ID's error numbers (AADSTS…) -> what went wrong, what to do, and who has to do it.

The numbers stand in `aadsts_table`; one without a row is explained by its OAuth error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ..errors import AuthenticationFailed, IdentityProviderUnavailable, ProxyError, SignInRequired
from ..rules.audiences import STORAGE_AUDIENCE
from .aadsts_table import BY_CODE, BY_ERROR, BY_SUBERROR, STORAGE_BY_CODE, UNKNOWN, Actor

ERROR_CLASSES: Mapping[Actor, type[ProxyError]] = MappingProxyType(
    {
        Actor.USER: SignInRequired,
        Actor.ADMINISTRATOR: AuthenticationFailed,
        Actor.OPERATOR: AuthenticationFailed,
        Actor.NETWORK: IdentityProviderUnavailable,
    }
)

PAGE = "https://login.microsoftonline.com/error?code="
"""Microsoft's own words on a number, always the current ones."""

UNKNOWN_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "base_url": "the FHIR server's base URL",
        "client_id": "the client id in use",
        "tenant": "the tenant in use",
        "audience": "the audience in use",
    }
)
"""What stands in a text for a value that is not known; its keys are the names that a text can use."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A refused sign-in in plain words; it holds nothing that Entra ID sent, but the number."""

    code: int | None
    """The number that was explained; None where the OAuth error was."""
    who: Actor
    cause: str
    fix: str

    @property
    def error_class(self) -> type[ProxyError]:
        """The error that it becomes."""
        return ERROR_CLASSES[self.who]

    @property
    def link(self) -> str:
        """Microsoft's page on the number; empty without one."""
        return "" if self.code is None else f"{PAGE}{self.code}"


def explain(
    codes: Sequence[int],
    error: str,
    suberror: str = "",
    *,
    base_url: str = "",
    client_id: str = "",
    tenant: str = "",
    audience: str = "",
) -> Explanation:
    """What `error_codes`, `error` and `suberror` of a refusal mean (RFC 6749 section 5.2, with Entra's keys).

    The first number with a row counts; without any, the suberror, then the error.
    """
    names = {"base_url": base_url, "client_id": client_id, "tenant": tenant, "audience": audience}
    known = {name: value or UNKNOWN_NAMES[name] for name, value in names.items()}
    code = next((code for code in codes if code in BY_CODE), codes[0] if codes else None)
    at_storage = STORAGE_BY_CODE.get(code or 0) if audience == STORAGE_AUDIENCE else None
    who, cause, fix = (
        at_storage or BY_CODE.get(code or 0) or BY_SUBERROR.get(suberror) or BY_ERROR.get(error) or UNKNOWN
    )
    return Explanation(code, who, cause.format_map(known), fix.format_map(known))
