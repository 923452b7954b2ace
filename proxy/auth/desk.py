"""Where a person signs in and out by themselves, beside the requests that need it of them."""

from __future__ import annotations

from ..errors import ConfigError
from .gate import Gate
from .seams import Authenticator, Choosing, Desk


def desk_of(authenticator: Authenticator) -> Desk | None:
    """Where the person of an Authenticator signs in; None where none does, as far as is known yet."""
    inner = authenticator.inner if isinstance(authenticator, Gate) else authenticator
    chosen: Authenticator | None = inner.chosen if isinstance(inner, Choosing) else inner
    return chosen if isinstance(chosen, Desk) else None


async def opened_desk_of(authenticator: Authenticator) -> Desk:
    """The same, after `auto` has asked the server what it wants; raises why nobody can sign in."""
    inner = authenticator.inner if isinstance(authenticator, Gate) else authenticator
    if isinstance(inner, Choosing):
        await inner.choose()
    found = desk_of(authenticator)
    if found is None:
        raise ConfigError(
            "Nobody signs in to this server: it is open, or an app or another program brings the token",
            hint="Let a person sign in with --auth interactive or --auth device-code.",
        )
    return found
