"""The scopes that a server says it needs, beside the one that is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..model import Challenge
from .challenges import bearer_parameter, one_line
from .tokens import SCOPE

ALSO_OURS = frozenset({SCOPE, ".default", "openid", "profile", "email", "offline_access"})
"""Scopes by the last part of their names that a token has, or that are about the sign-in and not the server."""


def other_scopes(challenges: Sequence[Challenge]) -> str:
    """What to tell a person when a Bearer challenge wants other scopes (RFC 6750 section 3); empty otherwise."""
    others = _not_ours(bearer_parameter(challenges, ["scope"]).split())
    if not others:
        return ""
    return (
        f"The server asks for the scopes {others!r}, and exactly one is requested, {SCOPE!r}; have its "
        "administrator let that one in, or bring a token with the others by --auth command"
    )


def other_scopes_listed(configuration: Mapping[str, object]) -> str:
    """What to tell when a SMART configuration lists scopes, and not the one that is requested.

    `scopes_supported` (SMART App Launch 2.2, "Conformance") is no demand: servers that let user_impersonation in
    list others as well. So this is for a read that was refused.
    """
    listed = configuration.get("scopes_supported")
    names = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
    others = _not_ours(names)
    if not others or any(name.rpartition("/")[2] == SCOPE for name in names):
        return ""
    return f"Its SMART configuration lists the scopes {others!r}, and exactly one is requested, {SCOPE!r}."


def _not_ours(names: Sequence[str]) -> str:
    return one_line(" ".join(name for name in names if name.rpartition("/")[2] not in ALSO_OURS))
