"""Reuse the sign-in of Microsoft's own tools: az, azd, Azure PowerShell, through azure-identity.

That is an optional extra, imported when it is first needed. It starts the tool for each token and keeps
nothing, so `cache` does. Whoever the tool is signed in as can change under the running proxy: the file in which
the tool keeps it is looked at, consecutive tokens are compared, and the change is told.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from ..config import AuthMethod, ServerConfig
from ..errors import AuthenticationFailed, ConfigError, SignInRequired
from ..model import Rejection
from ..rules.rejections import refused_after_sign_in
from ..rules.tokens import claim_text, unverified_claims
from .answers import cleaned
from .cache import CachedAuthenticator
from .registration import Permission, registration
from .seams import Authenticator, Seams
from .sources import AccessToken
from .threads import in_thread
from .tool_profile import ToolProfile

PROCESS_SECONDS = 30
"""That a tool gets for a token; az needs several on a slow disk, and its own default of 10 s cuts it off."""

# It warns of each failure, with what a tool has printed.
_azure_log = logging.getLogger("azure")
_azure_log.addHandler(logging.NullHandler())
_azure_log.propagate = False


LOOK_AGAIN = 5.0
"""Seconds between two tokens that a tool is asked for because its profile has changed: where a tool writes it
each time it runs, that is no process for each request."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One of Microsoft's tools: its name, its programs of which one is needed, and what a person types."""

    name: str
    programs: tuple[str, ...]
    install: str
    login: str
    profile: str
    """The file that says who is signed in, in the folder that `variable` names, otherwise in `folder` at home."""
    folder: str
    variable: str = ""

    def profile_path(self, environment: Mapping[str, str]) -> Path:
        """Where the tool keeps who is signed in."""
        named = environment.get(self.variable, "") if self.variable else ""
        # expanduser leaves "~" where a container's user has no home; Path.home() would raise.
        return Path(named or os.path.expanduser(f"~/{self.folder}"), self.profile)


TOOLS: Mapping[AuthMethod, Tool] = MappingProxyType(
    {
        "azure-cli": Tool(
            "Azure CLI",
            ("az",),
            "https://aka.ms/install-azure-cli",
            "az login",
            "azureProfile.json",
            ".azure",
            "AZURE_CONFIG_DIR",
        ),
        "azd": Tool(
            "Azure Developer CLI",
            ("azd",),
            "https://aka.ms/install-azd",
            "azd auth login",
            "auth.json",
            ".azd",
            "AZD_CONFIG_DIR",
        ),
        "powershell": Tool(
            "Azure PowerShell",
            ("pwsh", "powershell"),
            "https://aka.ms/install-powershell, then: Install-Module Az.Accounts",
            "Connect-AzAccount",
            "AzureRmContext.json",
            ".Azure",
        ),
    }
)


class _Printed(Protocol):
    """A token as azure-identity returns it."""

    token: str
    expires_on: int


class _Credential(Protocol):
    """One of azure-identity's asynchronous credentials."""

    async def get_token(self, *scopes: str) -> _Printed:
        """A token for one scope."""


@dataclass(frozen=True, slots=True)
class Account:
    """Whose a token is: object id and tenant, and the name that people know it by."""

    oid: str
    tid: str
    name: str

    @property
    def shown(self) -> str:
        """As it is told."""
        return f"{self.name or self.oid} in the tenant {self.tid}"

    @classmethod
    def of(cls, token: str) -> Account | None:
        """What a token says of itself, unverified; None for one that cannot be read."""
        claims = unverified_claims(token)
        oid = claim_text(claims, "oid")
        name = claim_text(claims, "upn", "unique_name", "preferred_username")
        return cls(oid, claim_text(claims, "tid"), name) if oid else None


def azure_tool(config: ServerConfig, seams: Seams) -> Authenticator:
    """Tokens of whoever is signed in to the tool; ConfigError where the audience is not one to ask for."""
    # The tools take a resource, and azure-identity cuts nothing but this permission off a scope.
    source = AzureToolSource(config, registration(config, Permission.APP).scope, seams)
    explain = partial(refused_after_sign_in, config)
    return CachedAuthenticator(source, seams.clock, explain, is_outdated=source.is_outdated)


class AzureToolSource:
    """A TokenSource that has the tool make a token each time."""

    def __init__(self, config: ServerConfig, scope: str, seams: Seams) -> None:
        self._config = config
        self._method: AuthMethod = config.auth
        self._tool = TOOLS[config.auth]
        self._tenant = config.tenant
        self._scope = scope
        self._seams = seams
        self._credential: _Credential | None = None
        self._account: Account | None = None
        self._profile = ToolProfile(self._tool.profile_path(os.environ))
        self._state = b""
        self._asked_at = -math.inf

    def is_outdated(self) -> bool:
        """Whether the tool's profile has changed since the last token; somebody else may be signed in."""
        if 0 <= self._seams.clock.time() - self._asked_at < LOOK_AGAIN:
            return False
        return self._profile.state() != self._state

    async def acquire(self, *, rejected: Rejection | None) -> AccessToken:  # noqa: ARG002  all are new
        """A new token of whoever is signed in to the tool now."""
        # Before the tool runs: a sign-in while it does is noticed afterwards.
        self._state, self._asked_at = self._profile.state(), self._seams.clock.time()
        if self._credential is None:
            self._credential = await in_thread(partial(_credential, self._method, self._tenant))
        if not any(map(shutil.which, self._tool.programs)):
            raise AuthenticationFailed(
                f"{self._tool.name} ({' or '.join(self._tool.programs)}) is not found on the PATH of the "
                "proxy's process.",
                hint=f"Install it: {self._tool.install}. Then: {self._tool.login}",
            )
        token = await self._token(self._credential)
        self._compare(Account.of(token.value))
        return token

    def beside(self, audience: str) -> AzureToolSource:
        """Tokens for another audience of whoever is signed in to the tool; who that is, the first one tells."""
        silent = replace(self._seams, tell=lambda _line: None)
        return AzureToolSource(self._config, f"{audience}/{Permission.APP}", silent)

    async def close(self) -> None:
        """A tool that still runs is left to itself; its output goes nowhere."""

    async def _token(self, credential: _Credential) -> AccessToken:
        from azure.core.exceptions import ClientAuthenticationError  # noqa: PLC0415  an optional extra

        try:
            made = await credential.get_token(self._scope)
        except ClientAuthenticationError as error:
            raise SignInRequired(
                f"{self._tool.name} gives no token for {self._scope.removesuffix('/.default')}. It says: "
                f"{cleaned(str(error.message)) or 'nothing'}",
                hint=f"Sign in: {self._tool.login}"
                + (
                    f" (tenant {self._tenant})"
                    if self._tenant
                    else "; name the server's tenant with --tenant"
                )
                + ". The next request uses it; no restart is needed.",
            ) from None  # the library quotes what the tool printed
        return AccessToken(made.token, float(made.expires_on), float(made.expires_on))

    def _compare(self, account: Account | None) -> None:
        before, self._account = self._account, account
        if account is None:
            return
        if before is None:
            self._seams.tell(f"{self._tool.name} is signed in as {account.shown}")
        elif (before.oid, before.tid) != (account.oid, account.tid):
            self._seams.tell(
                f"Beware: {self._tool.name} is now signed in as {account.shown}, and was as {before.shown}. "
                "Requests are made as the new account from now on; the old token is dropped."
            )


def _credential(method: AuthMethod, tenant: str) -> _Credential:
    """The credential of a method; ConfigError where the extra is not installed."""
    try:
        from azure.identity import aio  # noqa: PLC0415  an optional extra, and it takes 0.2 s
    except ImportError:
        raise ConfigError(
            f"The method {method!r} needs azure-identity, which is not installed.",
            hint="Install it beside the proxy: pip install 'fhir-auth-proxy[azure]' (pipx inject "
            "fhir-auth-proxy azure-identity, where pipx installed it).",
        ) from None
    kinds = {
        "azure-cli": aio.AzureCliCredential,
        "azd": aio.AzureDeveloperCliCredential,
        "powershell": aio.AzurePowerShellCredential,
    }
    made: _Credential = kinds[method](tenant_id=tenant, process_timeout=PROCESS_SECONDS)
    return made
