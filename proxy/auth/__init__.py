"""Ways to obtain credentials, one file each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from ..model import Credentials, Rejection, ResponseHead

Probe = Callable[[], Awaitable[ResponseHead]]
"""One read of the server without credentials: the head of its answer."""


class Authenticator(Protocol):
    """Where an exchange gets its credentials."""

    async def credentials(self, rejected: Rejection | None = None) -> Credentials | None:
        """Valid credentials; None where the server takes requests without any.

        `rejected` are credentials that the server refused although they had not expired: they are never
        returned again. Raises SignInRequired, AuthenticationFailed or IdentityProviderUnavailable.
        """

    async def close(self) -> None:
        """Stop what is under way; does not wait for Entra ID."""
