"""Who may come in: Microsoft's challenge, a token that is verified, the scope that it must have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from .outcome import FhirError

# What Microsoft's server answers without a token: [FhirAnonymousOperation] and [AllowAnonymous].
ANONYMOUS = frozenset({"metadata", ".well-known/smart-configuration", "$versions", "health/check"})
SCOPE = "user_impersonation"
"""The delegated permission of Azure Health Data Services."""


class Claims(Protocol):
    """What the server reads of a verified token; an app's own token has no `scp`."""

    @property
    def scp(self) -> tuple[str, ...]:
        """The delegated scopes."""

    @property
    def roles(self) -> tuple[str, ...]:
        """The app roles."""


Verifier = Callable[[str, str], Claims]
"""Token and expected audience to claims, or an exception whose text is the reason of the refusal."""


@dataclass(slots=True)
class Access:
    """The door: `verify` is None for an open server; `role` "" lets every app in.

    `refusals` are the exceptions by which `verify` refuses a token; any other is a fault of its own.
    """

    verify: Verifier | None
    authority: str
    audience: str
    role: str = ""
    refusals: tuple[type[Exception], ...] = (ValueError,)

    def check(self, path: str, fields: Mapping[str, str]) -> None:
        """Raise FhirError 401 or 403 for a call that may not come in."""
        if self.verify is None or path in ANONYMOUS:
            return
        scheme, _, token = fields.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise self.challenge()
        try:
            claims = self.verify(token.strip(), self.audience)
        except self.refusals as error:
            raise self.challenge(str(error)) from error
        admitted = SCOPE in claims.scp if claims.scp else self.role in {"", *claims.roles}
        if not admitted:
            raise FhirError(403, "forbidden", "Authorization failed.")

    def challenge(self, reason: str = "") -> FhirError:
        """Return the 401; the reason why the token was refused comes as RFC 6750, section 3.1, has it."""
        audience = self.audience
        challenge = (
            f'Bearer authorization_uri="{self.authority}", resource_id="{audience}", realm="{audience}"'
        )
        if reason:
            quotable = "".join(letter if " " <= letter <= "~" else "?" for letter in reason.replace('"', "'"))
            quotable = quotable.replace("\\", "/")
            challenge += f', error="invalid_token", error_description="{quotable}"'
        return FhirError(401, "login", "Authentication failed.", (("WWW-Authenticate", challenge),))
