"""The storage accounts that files of exports lie in: reached as the proxy reaches them, by whoever has signed in."""

from __future__ import annotations

import os

from ..auth import StorageAuthenticator
from ..errors import ProxyError
from ..model import BaseUrl
from ..rules.audiences import STORAGE_AUDIENCE
from ..upstream import tls_context, tunnel_for
from .state import State
from .verdicts import Status, Verdict, skipped
from .visit import visit


async def accounts(state: State) -> tuple[State, Verdict]:
    """Each account answers with a certificate that is trusted, and there is a token for storage.

    Whether its files may be read is not known before one is: that takes a role on the account.
    """
    config = state.config
    details = {"accounts": ", ".join(config.export_storage)}
    if not config.export_storage:
        return state, Verdict(Status.OK, "none is named")
    problems = await _unreached(state)
    if state.authenticator is not None and state.credentials is not None:
        details["audience"] = STORAGE_AUDIENCE
        own = StorageAuthenticator(config, state.authenticator)
        try:
            await own.credentials()
        except ProxyError as error:
            problems.append(error)
        finally:
            await own.close()
    if problems:
        cause = " ".join(error.message for error in problems)
        fix = " ".join(dict.fromkeys(error.hint for error in problems if error.hint))
        return state, Verdict(
            Status.FAILED, cause=cause, fix=fix or "Check --export-storage.", details=details
        )
    if state.credentials is None:
        return state, skipped("nobody has signed in, so there is no token for them")
    found = f"{details['accounts']}, and a token for {STORAGE_AUDIENCE}"
    return state, Verdict(Status.OK, found, details=details)


async def _unreached(state: State) -> list[ProxyError]:
    """Why accounts cannot be reached, one error each."""
    config = state.config
    errors: list[ProxyError] = []
    for account in config.export_storage:
        base = BaseUrl.parse(f"https://{account}")
        try:
            await visit(config, base, tls_context(config.ca_bundle), tunnel_for(base, os.environ))
        except ProxyError as error:
            errors.append(error)
    return errors
