"""`logout`: forget a sign-in that is kept."""

from __future__ import annotations

import os

import click

from ..auth.kept import all_kept
from ..auth.private_file import state_folder
from ..errors import ConfigError
from .accounts import described, signed_in, tell_of_others
from .terminal import tell


@click.command(short_help="Forget a sign-in.")
@click.argument("account", required=False)
@click.option("--all", "everybody", is_flag=True, help="Forget every sign-in.")
def command(account: str | None, everybody: bool) -> None:
    """Forget the sign-ins of ACCOUNT, or the only one that there is.

    A running proxy notices when it next renews its token. Sign-ins that replicas share in Redis are not reached: sign
    out on the page of a proxy that uses them.
    """
    tell_of_others(os.environ)
    found = signed_in()
    names = {one.account.username for one in found}
    if account is None and not everybody and len(names) > 1:
        raise ConfigError(
            f"Several accounts are signed in: {', '.join(sorted(names))}",
            hint="Name one: fhir-auth-proxy logout NAME; or all of them: fhir-auth-proxy logout --all.",
        )
    leaving = [one for one in found if account is None or one.account.is_named(account)]
    if account is not None and not leaving:
        raise ConfigError(
            f"{account} is not signed in on this machine",
            hint="fhir-auth-proxy accounts lists who is; out of a token cache in Redis, sign out on a proxy's page.",
        )
    homes = {one.account.home_account_id for one in leaving}
    for kept in all_kept(state_folder(os.environ), tell):
        for one in kept.accounts():
            if one.account.home_account_id in homes:
                kept.forget(one.account)
                click.echo(f"signed out: {described(one)}")
