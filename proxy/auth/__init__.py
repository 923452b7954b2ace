"""Ways to obtain credentials, one file each.

`seams` says what an Authenticator is and what it needs from outside. `cache` keeps one token for all who ask,
`gate` looks at what comes out.
A way to sign in is a TokenSource under that cache: an app's (`client_secret`), or a person's (`person`, by
`interactive` or `device_code`). They reach Entra ID through `entra`, where MSAL lives, at the authority that
`authorities` decides on and for what `registration` says; `answers` and `aadsts` turn refusals into errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ..config import AuthMethod, ServerConfig
from .anonymous import AnonymousAuthenticator
from .auto import AutoAuthenticator
from .browser import SystemBrowser
from .client_secret import client_secret
from .clock import Clock, SystemClock
from .device_code import device_code
from .gate import Gate
from .interactive import interactive
from .seams import Authenticator, Browser, Probe, Seams, Tell
from .token import TokenAuthenticator

__all__ = [
    "METHODS",
    "Authenticator",
    "Browser",
    "Clock",
    "Gate",
    "Probe",
    "Seams",
    "SystemBrowser",
    "SystemClock",
    "Tell",
    "authenticator",
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
    "client-secret": client_secret,
    "device-code": device_code,
    "interactive": interactive,
    "token": _token,
}
"""Every way to sign in by its name in the settings."""
