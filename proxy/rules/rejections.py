"""What to tell when the server refuses a token that was just obtained for it."""

from __future__ import annotations

from collections.abc import Sequence

from ..config import ServerConfig
from ..errors import AuthenticationFailed
from ..model import Challenge
from .audiences import audience_mismatch
from .challenges import stated_error
from .scopes import other_scopes

OTHER_ISSUER = (
    "The token is new and for the right audience, so the server does not accept who issued it: check that "
    "--tenant is the server's own tenant, and on the server which authority and audience it is configured with."
)

NO_TENANT = (
    "Neither the settings nor the server name a tenant, so whoever signs in does so at home, and the server may "
    "take tokens of its own tenant alone: name that with --tenant (AZURE_TENANT_ID). A person of another "
    "organization has to be a guest there."
)


def refused_after_sign_in(config: ServerConfig, challenges: Sequence[Challenge]) -> AuthenticationFailed:
    """The error for a 401 that remains after a renewed sign-in, with the server's words and the likely fix."""
    said = stated_error(challenges)
    return AuthenticationFailed(
        f"{config.base_url} refuses a token that was just obtained for it" + (f": {said}" if said else "."),
        hint=other_scopes(challenges)
        or audience_mismatch(config, challenges)
        or (OTHER_ISSUER if config.tenant or config.authority else NO_TENANT),
    )
