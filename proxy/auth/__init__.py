"""Ways to obtain credentials, one file each.

`seams` says what an Authenticator is and what it needs from outside, `sources` what a token is and who makes
one. `cache` keeps one token for all who ask, by the times of `renewal`; `gate` looks at what comes out. `desk` is
where a person signs in and out beside the requests.
A way to sign in is a TokenSource under that cache: an app's (`app`, by `client_secret`, `client_certificate` or
`workload_identity`, with what `proofs` sends), or a person's (`person`, by the ways `interactive` and
`device_code`).
They reach Entra ID through `entra`, with MSAL in its `msal_room`, at the authority that `authorities` decides on
and for what `registration` says; `answers` and `aadsts` turn refusals into errors. `token_caches` says where
sign-ins outlive the process, and `keeping` what such a place offers: files and keyrings (`kept`), or an entry that
replicas share (`shared`, sealed by `seal`, in `redis_entries`). Others have their tokens made
elsewhere: `managed_identity` by the machine, `azure_tools` and `command` by a program, whose output `printed`
reads. `identities` says which of them the settings give, for `auto`. `storage` has the same identity's tokens
for storage accounts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ..config import AuthMethod, ServerConfig
from .anonymous import AnonymousAuthenticator
from .auto import AutoAuthenticator
from .azure_tools import azure_tool
from .browser import SystemBrowser
from .client_certificate import client_certificate
from .client_secret import client_secret
from .clock import Clock, SystemClock
from .command import command
from .desk import PersonalAuthenticator, desk_of, opened_desk_of, personal
from .flows import Invitation, Start
from .gate import Gate
from .managed_identity import managed_identity
from .seams import Authenticator, Browser, Holding, Probe, Seams, Tell
from .storage import StorageAuthenticator
from .token import TokenAuthenticator
from .workload_identity import workload_identity

__all__ = [
    "METHODS",
    "Authenticator",
    "Browser",
    "Clock",
    "Gate",
    "Holding",
    "Invitation",
    "PersonalAuthenticator",
    "Probe",
    "Seams",
    "Start",
    "StorageAuthenticator",
    "SystemBrowser",
    "SystemClock",
    "Tell",
    "authenticator",
    "desk_of",
    "opened_desk_of",
]


def authenticator(config: ServerConfig, seams: Seams) -> Gate:
    """The Authenticator for a server's settings; ConfigError tells all that they lack."""
    return Gate(METHODS[config.auth](config, seams), config, seams)


def _anonymous(_config: ServerConfig, _seams: Seams) -> Authenticator:
    return AnonymousAuthenticator()


def _auto(config: ServerConfig, seams: Seams) -> Authenticator:
    def make(method: AuthMethod, probe: Probe) -> Authenticator:
        return METHODS[method](config.model_copy(update={"auth": method}), replace(seams, probe=probe))

    return AutoAuthenticator(config, seams, make)


def _token(config: ServerConfig, seams: Seams) -> Authenticator:
    return TokenAuthenticator(config, seams.clock)


METHODS: Mapping[AuthMethod, Callable[[ServerConfig, Seams], Authenticator]] = {
    "anonymous": _anonymous,
    "auto": _auto,
    "azd": azure_tool,
    "azure-cli": azure_tool,
    "client-certificate": client_certificate,
    "client-secret": client_secret,
    "command": command,
    "device-code": personal,
    "interactive": personal,
    "managed-identity": managed_identity,
    "powershell": azure_tool,
    "token": _token,
    "workload-identity": workload_identity,
}
"""Every way to sign in by its name in the settings."""
