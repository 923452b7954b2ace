"""Ways to obtain credentials, one file each, loaded when it is in use (`methods`).

`seams` says what an Authenticator is and what it needs from outside, `sources` what a token is and who makes
one. `cache` keeps one token for all who ask, by the times of `renewal`; `gate` looks at what comes out. `desk` is
where a person signs in and out beside the requests.
A way to sign in is a TokenSource under that cache: an app's (`app`, by `client_secret`, `client_certificate` or
`workload_identity`, with what `proofs` sends), or a person's (`personal`, from `person`, by the ways `interactive` and
`device_code`).
They reach Entra ID through `entra`, with MSAL in its `msal_room`, at the authority that `authorities` decides on
and for what `registration` says; `answers` and `aadsts` turn refusals into errors. `token_caches` says where
sign-ins outlive the process (`earlier_run` whether one may have), and `keeping` what such a place offers: files and
keyrings (`kept`), or an entry that replicas share (`shared`, sealed by `seal`, in `redis_entries`). Others have their
tokens made elsewhere: `managed_identity` by the machine, `azure_tools` and `command` by a program, whose output
`printed` reads. `identities` says which of them the settings give, for `auto`. `storage` has the same identity's tokens
for storage accounts.
"""

from __future__ import annotations

from ..config import ServerConfig
from .browser import SystemBrowser
from .clock import Clock, SystemClock
from .desk import desk_of, opened_desk_of
from .flows import Invitation, Start
from .gate import Gate
from .methods import METHODS, made
from .seams import ASK, AtHand, Authenticator, Browser, Desk, Holding, Probe, Seams, Tell
from .storage import StorageAuthenticator

__all__ = [
    "ASK",
    "METHODS",
    "AtHand",
    "Authenticator",
    "Browser",
    "Clock",
    "Desk",
    "Gate",
    "Holding",
    "Invitation",
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
    return Gate(made(config.auth, config, seams), config, seams)
