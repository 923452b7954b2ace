"""The scopes that a server says it needs, beside the one that is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from ..model import Challenge
from .challenges import bearer_parameter, one_line
from .tokens import SCOPE

ALSO_OURS = frozenset({SCOPE, ".default", "openid", "profile", "email", "offline_access"})
"""Scopes by the last part of their names that a token has, or that are about the sign-in and not the server."""


def other_scopes(challenges: Sequence[Challenge]) -> str:
    """What to tell a person when a Bearer challenge wants other scopes (RFC 6750 section 3); empty otherwise."""
    wanted = bearer_parameter(challenges, ["scope"]).split()
    others = [scope for scope in wanted if scope.rpartition("/")[2] not in ALSO_OURS]
    if not others:
        return ""
    return (
        f"The server asks for the scopes {one_line(' '.join(others))!r}, and exactly one is requested, {SCOPE!r}; "
        "have its administrator let that one in, or bring a token with the others by --auth command"
    )
