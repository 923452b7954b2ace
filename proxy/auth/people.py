"""Whom a person's sign-in is for: who may, and how an answer names them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass

from ..config import ServerConfig
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


@dataclass(frozen=True, slots=True)
class People:
    """What the settings say of the people who may sign in."""

    config: ServerConfig

    @property
    def expected(self) -> str:
        """The user name to sign in with; empty where anybody may, or where an identifier names them."""
        return self.config.account if "@" in self.config.account else ""

    def refused(self, account: Account, authority: Authority) -> Finding | None:
        """Why an account that signed in at an authority must not be used; None where it may."""
        return (
            (refused_without_tenant(account, self.config) if is_shared(authority) else None)
            or refused_by_name(account, self.config)
            or refused_by_policy(account, self.config)
        )


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
