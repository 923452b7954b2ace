"""The last look at credentials before they are used: what the settings forbid stops, what is off is told."""

from __future__ import annotations

import copy
import logging

from ..config import AuthMethod, ServerConfig
from ..errors import AuthenticationFailed
from ..model import Credentials, Rejection
from ..rules.accounts import account_of, refused_by_name, refused_by_policy
from ..rules.tokens import Claims, Finding, token_findings, unverified_claims
from .identities import PERSON_METHODS
from .seams import Authenticator, Choosing, Explain, Holding, Seams, Versatile

_log = logging.getLogger(__name__)
_UNSEEN = Credentials(b"")


class Gate:
    """An Authenticator around another one, whichever it is; looks at each token once.

    Raises AuthenticationFailed for credentials that `expect_tenant`, `require_organizational_account` or
    `account` forbid: no request with them is ever sent.
    """

    def __init__(self, inner: Authenticator, config: ServerConfig, seams: Seams) -> None:
        self.inner = inner
        self._holding = inner if isinstance(inner, Holding) else None
        self.claims: Claims = {}
        """What the latest token says of itself, unverified; never to be shown as a whole."""
        self.findings: tuple[Finding, ...] = ()
        """What is off about the latest token."""
        self._config = config
        self._seams = seams
        self._seen: Credentials | None = _UNSEEN
        self._refusal: AuthenticationFailed | None = None

    async def credentials(self, rejected: Rejection | None = None) -> Credentials | None:
        """The credentials of the method in use."""
        credentials = await self.inner.credentials(rejected)
        if credentials is not self._seen:
            self._look(credentials)
        if self._refusal is not None:
            raise copy.copy(self._refusal)
        return credentials

    def held(self) -> Credentials | None:
        """The credentials of the method in use, where they are at hand and have passed before."""
        credentials = self._holding.held() if self._holding is not None else None
        return credentials if credentials is self._seen and self._refusal is None else None

    def beside(self, audience: str, explain: Explain) -> Authenticator | None:
        """The same for another audience, with a gate of its own; None where the method has but one audience."""
        inner = self.inner.beside(audience, explain) if isinstance(self.inner, Versatile) else None
        if inner is None:
            return None
        config = self._config.replace(audience=audience, auth=self._method)
        return Gate(inner, config, self._seams)

    async def close(self) -> None:
        """Stop what is under way."""
        await self.inner.close()

    @property
    def _method(self) -> AuthMethod:
        """The way to sign in that is in use, also where `auto` has chosen it."""
        return self.inner.method if isinstance(self.inner, Choosing) else self._config.auth

    def _look(self, credentials: Credentials | None) -> None:
        self._seen = credentials
        token = credentials.token.decode("latin-1") if credentials else ""
        self.claims = unverified_claims(token)
        refused = self._refused(credentials)
        self._refusal = AuthenticationFailed(refused.message, hint=refused.fix) if refused else None
        told = {finding.subject for finding in self.findings}
        self.findings = token_findings(self.claims, self._config, now=self._seams.clock.time())
        for finding in self.findings:
            if finding.subject not in told:
                self._warn(finding)

    def _refused(self, credentials: Credentials | None) -> Finding | None:
        config = self._config
        if credentials is None and not config.require_organizational_account:
            return None
        if credentials is None:
            return Finding(
                "account",
                f"{config.base_url} answers without sign-in, and only servers that ask an organization's "
                "account may be used (require_organizational_account).",
                "Name the way to sign in with --auth, if the server takes tokens as well.",
            )
        account = account_of(self.claims)
        refused = refused_by_policy(account, config)
        if refused is None and account is not None and not account.is_app:
            # Those have compared the account with the settings already, by more than the token tells.
            has_compared = self._method in PERSON_METHODS
            refused = None if has_compared else refused_by_name(account, config)
        return refused

    def _warn(self, finding: Finding) -> None:
        """Tell a person, where one is at hand, otherwise the log."""
        if self._seams.attended:
            self._seams.tell(f"{self._config.base_url}: warning: {finding}")
        else:
            _log.warning("%s: %s", self._config.base_url, finding)
