"""Who has signed in, and whether the settings let them: a member, a guest, a personal account, an app."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..config import ServerConfig
from .tokens import PERSONAL_TENANT, Claims, Finding, claim_text

ELSEWHERE = "elsewhere"
"""The home of a guest whose token does not tell which tenant it is."""

PERSONAL_ISSUER = "live.com"

_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Account:
    """Who a token stands for: user name, the tenant it was issued by, the tenant where the account lives."""

    username: str
    tenant: str
    home_tenant: str
    home_account_id: str = ""
    """MSAL's identifier, object and tenant id of the home; empty where a token alone is known."""
    is_app: bool = False

    @property
    def is_personal(self) -> bool:
        """Whether it belongs to a person and to no organization."""
        return not self.is_app and PERSONAL_TENANT in {self.home_tenant, self.tenant}

    @property
    def is_guest(self) -> bool:
        """Whether its home is another tenant than the token's."""
        return not self.is_app and self.home_tenant != self.tenant

    def is_named(self, name: str) -> bool:
        """Whether a setting means this account: by user name or home account id."""
        return name.casefold() in {self.username.casefold(), self.home_account_id.casefold()}

    def __str__(self) -> str:
        return f"{self.username or 'an account without name'} in tenant {self.tenant}"


def account_of(claims: Claims) -> Account | None:
    """Who an access token stands for, as far as it tells; None where it does not tell its tenant.

    Claims as in Microsoft, "Access token claims reference": `idp` comes where the account lives elsewhere.
    """
    tenant = claim_text(claims, "tid").lower()
    if not tenant:
        return None
    name = claim_text(claims, "upn", "preferred_username", "unique_name", "email")
    if claims.get("idtyp") == "app" or not (name or claims.get("scp")):
        return Account(claim_text(claims, "appid", "azp"), tenant, tenant, is_app=True)
    return Account(name.removeprefix(f"{PERSONAL_ISSUER}#"), tenant, _home(claims, tenant))


def refused_by_policy(account: Account | None, config: ServerConfig) -> Finding | None:
    """What `expect_tenant` and `require_organizational_account` have against an account; None for nothing.

    An account that cannot be told, because the token is opaque, satisfies neither.
    """
    if config.expect_tenant and (account is None or account.tenant != config.expect_tenant.lower()):
        found = f"is of the tenant {account.tenant}" if account else "does not tell its tenant"
        return Finding(
            "tenant",
            f"The sign-in {found}, and {config.base_url} may be used from {config.expect_tenant} alone "
            "(expect_tenant).",
            "Sign in with an account of that tenant, and to that tenant (--tenant).",
        )
    if not config.require_organizational_account or (
        account is not None and not account.is_personal and not account.is_guest
    ):
        return None
    return Finding(
        "account",
        f"{_described(account)}, and {config.base_url} may be used with an organization's own accounts alone "
        "(require_organizational_account).",
        "Sign in with an account of the server's organization, or as an app of it.",
    )


def refused_by_name(account: Account, config: ServerConfig) -> Finding | None:
    """What the setting `account` has against whoever signed in."""
    if not config.account or account.is_named(config.account):
        return None
    return Finding(
        "account",
        f"{account.username or 'An account without name'} signed in, and {config.account} is the account to "
        f"use for {config.base_url}.",
        "Sign in as that one, or name the other one with --account.",
    )


def refused_without_tenant(account: Account, config: ServerConfig) -> Finding | None:
    """Why an account cannot be used where nobody has named a tenant: its token is not of its own tenant.

    The token of a guest is of the wrong tenant unless the right one was asked for, and personal accounts have
    none, so that the server would be handed a token that it cannot take.
    """
    if not (account.is_personal or account.is_guest):
        return None
    return Finding(
        "tenant",
        f"{_described(account)}, and neither the settings nor {config.base_url} name the tenant to sign in to. "
        "Nothing was sent to the server.",
        "Name the tenant of the server with --tenant (AZURE_TENANT_ID), where the account has to be a guest; "
        "or sign in with an account of the server's organization.",
    )


def _described(account: Account | None) -> str:
    if account is None:
        return "The sign-in does not tell whose it is"
    kind = "a personal account" if account.is_personal else f"a guest from {account.home_tenant}"
    return f"{account.username or 'Whoever signed in'} is {kind}"


def _home(claims: Claims, tenant: str) -> str:
    provider = claim_text(claims, "idp").lower()
    if provider == PERSONAL_ISSUER or claim_text(claims, "unique_name").startswith(f"{PERSONAL_ISSUER}#"):
        return PERSONAL_TENANT
    if provider:
        found = _GUID.search(provider)
        return found[0] if found else ELSEWHERE
    is_guest = claims.get("acct") == 1 or "#ext#" in claim_text(claims, "upn").lower()
    return ELSEWHERE if is_guest else tenant
