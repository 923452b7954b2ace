"""Whom a person's sign-in is for: who may, how an answer names them, and where the sign-in is kept."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from ..config import ServerConfig
from ..errors import ConfigError
from ..rules.accounts import (
    ELSEWHERE,
    Account,
    refused_by_name,
    refused_by_policy,
    refused_without_tenant,
)
from ..rules.tokens import Finding, claim_text
from .answers import Answer
from .authorities import SHARED_TENANTS, Authority
from .kept import ENCRYPTED, FILE, Kept, Warn, store_path
from .keyring import Keyring, KeyringMissing
from .private_file import PrivateFile, state_folder
from .seams import Tell


@dataclass(frozen=True, slots=True)
class People:
    """What the settings say of the people who may sign in."""

    config: ServerConfig
    tell: Tell

    @property
    def expected(self) -> str:
        """The user name to sign in with; empty where anybody may, or where an identifier names them."""
        return self.config.account if "@" in self.config.account else ""

    @property
    def are_kept(self) -> bool:
        """Whether a sign-in may outlive the process."""
        return KEEPING[self.config.token_cache] is not _in_memory

    def refused(self, account: Account, authority: Authority) -> Finding | None:
        """Why an account that signed in at an authority must not be used; None where it may."""
        return (
            (refused_without_tenant(account, self.config) if is_shared(authority) else None)
            or refused_by_name(account, self.config)
            or refused_by_policy(account, self.config)
        )

    def kept(self, authority: Authority) -> Kept | None:
        """Where sign-ins at an authority outlive the process; None for memory alone. It may block.

        ConfigError where encryption is demanded and not to be had.
        """
        return KEEPING[self.config.token_cache](self.config, authority, self.tell)


def is_shared(authority: Authority) -> bool:
    """Whether an authority is no tenant of its own but that of whoever signs in."""
    return authority.tenant.lower() in SHARED_TENANTS


def account_in(answer: Answer) -> Account:
    """Who has signed in: the home from `client_info`, the tenant from the id token, which MSAL has decoded."""
    claims = answer.get("id_token_claims")
    claims = claims if isinstance(claims, Mapping) else {}
    text = str(answer.get("client_info", ""))
    info = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) or b"{}")
    home = str(info["utid"]) if {"uid", "utid"} <= info.keys() else ""
    return Account(
        claim_text(claims, "preferred_username", "upn", "email"),
        claim_text(claims, "tid").lower(),
        home.lower() or ELSEWHERE,
        f"{info['uid']}.{home}" if home else "",
    )


def _in_memory(_config: ServerConfig, _authority: Authority, _tell: Tell) -> None:
    return None


def _in_file(config: ServerConfig, authority: Authority, tell: Tell) -> Kept:
    path = store_path(state_folder(os.environ), authority.url, config.client_id, FILE)
    return Kept(PrivateFile(path), authority.url, config.client_id, _warning(config, tell))


def _encrypted(config: ServerConfig, authority: Authority, tell: Tell) -> Kept:
    path = store_path(state_folder(os.environ), authority.url, config.client_id, ENCRYPTED)
    try:
        return Kept(Keyring(path), authority.url, config.client_id, _warning(config, tell))
    except (KeyringMissing, OSError) as error:
        raise ConfigError(
            f'token_cache = "encrypted" cannot be had here: {error}.',
            hint='On Linux it needs a desktop session and PyGObject. Set token_cache = "file" to keep sign-ins '
            'in a file that only you can read, or "none" to sign in at every start.',
        ) from error


def _best(config: ServerConfig, authority: Authority, tell: Tell) -> Kept | None:
    try:
        return _encrypted(config, authority, tell)
    except ConfigError:
        tell(
            f"{config.base_url}: the sign-in lasts until the proxy stops, since nothing here can encrypt it on "
            'disk; token_cache = "file" keeps it in a file that only you can read'
        )
        return None


def _warning(config: ServerConfig, tell: Tell) -> Warn:
    return partial(_tell_of, tell, str(config.base_url))


def _tell_of(tell: Tell, base_url: str, line: str) -> None:
    tell(f"{base_url}: {line}")


KEEPING: Mapping[str, Callable[[ServerConfig, Authority, Tell], Kept | None]] = {
    "auto": _best,
    "encrypted": _encrypted,
    "file": _in_file,
    "none": _in_memory,
}
"""Where sign-ins are kept, by the setting `token_cache`."""
