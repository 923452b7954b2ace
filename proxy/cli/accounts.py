"""`accounts`: who is signed in, as it is kept on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime

import click

from ..auth.kept import SignedIn, all_kept
from ..auth.private_file import state_folder
from .terminal import tell

SHARED = "FHIR_AUTH_PROXY_TOKEN_CACHE"


def signed_in() -> list[SignedIn]:
    """Every account that is kept, by name."""
    found = [one for kept in all_kept(state_folder(os.environ), tell) for one in kept.accounts()]
    return sorted(found, key=lambda one: (one.account.username, one.authority, one.client_id))


def tell_of_others(environment: Mapping[str, str]) -> None:
    """Say that there may be sign-ins elsewhere, where the environment names a cache that replicas share."""
    if environment.get(SHARED, "").startswith(("redis://", "rediss://")):
        tell(f"What {SHARED} shares is not on this machine: sign out on the page of a proxy that uses it.")


def described(one: SignedIn) -> str:
    """An account in one line: name, tenant, when it was renewed, by which app, and where."""
    moment = datetime.fromtimestamp(one.renewed_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{one.account}, renewed {moment}, app {one.client_id} at {one.authority}"


@click.command(short_help="List who is signed in.")
def command() -> None:
    """List who is signed in: name, tenant, and when the sign-in was last renewed.

    Sign-ins that replicas share in Redis are not among them: each proxy's own page shows whose it uses.
    """
    for one in signed_in():
        click.echo(described(one))
    tell_of_others(os.environ)
