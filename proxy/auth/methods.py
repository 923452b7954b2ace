"""Every way to sign in by its name in the settings; its module is loaded when it is the one in use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType

from ..config import AuthMethod, ServerConfig
from .seams import Authenticator, Seams

METHODS: Mapping[AuthMethod, str] = MappingProxyType(
    {
        "anonymous": ".anonymous:anonymous",
        "auto": ".auto:auto",
        "azd": ".azure_tools:azure_tool",
        "azure-cli": ".azure_tools:azure_tool",
        "client-certificate": ".client_certificate:client_certificate",
        "client-secret": ".client_secret:client_secret",
        "command": ".command:command",
        "device-code": ".personal:personal",
        "interactive": ".personal:personal",
        "managed-identity": ".managed_identity:managed_identity",
        "powershell": ".azure_tools:azure_tool",
        "token": ".token:token",
        "workload-identity": ".workload_identity:workload_identity",
    }
)
"""The module in this package, and the function there that makes the Authenticator of settings and seams."""


def made(method: AuthMethod, config: ServerConfig, seams: Seams) -> Authenticator:
    """The Authenticator of a method; ConfigError tells all that the settings lack for it."""
    module, _, name = METHODS[method].partition(":")
    make: Callable[[ServerConfig, Seams], Authenticator] = getattr(import_module(module, __package__), name)
    return make(config, seams)
