"""A first configuration file: what was chosen, then what the way to sign in needs and takes, each explained."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from textwrap import wrap
from types import MappingProxyType

from .checks import NEEDS
from .documents import default_text, describe
from .settings import SETTINGS, AuthMethod

WIDTH = 110

METHODS: Mapping[AuthMethod, str] = MappingProxyType(
    {
        "auto": "ask the server, then take what is configured",
        "interactive": "a person, in the browser",
        "device-code": "a person, on another device",
        "client-secret": "an application, by a secret",
        "client-certificate": "an application, by a certificate",
        "workload-identity": "a pod or a GitHub Actions job",
        "managed-identity": "a machine in Azure",
        "azure-cli": "whoever has signed in by az login",
        "azd": "whoever has signed in by azd auth login",
        "powershell": "whoever has signed in by Connect-AzAccount",
        "token": "a token that something else obtained",
        "command": "a program that prints a token",
        "anonymous": "nobody: an open server",
    }
)
"""Each way to sign in, in a few words."""

BY_A_PERSON: frozenset[AuthMethod] = frozenset({"interactive", "device-code"})

TAKES: Mapping[AuthMethod, tuple[str, ...]] = MappingProxyType(
    {
        "auto": ("client_id", "tenant"),
        "interactive": ("tenant", "redirect_port"),
        "device-code": ("tenant",),
        "client-certificate": ("client_certificate_password_file",),
        "managed-identity": ("client_id",),
    }
)
"""What each takes beside what it cannot do without."""


def first_file(method: AuthMethod, chosen: Mapping[str, str], name: str) -> str:
    """The text of a configuration file that will be called `name`.

    `chosen` are base_url, listen, and what else is known, by key. A setting that the method needs and that is
    not chosen stands as a comment, marked as needed.
    """
    values = {"base_url": chosen["base_url"], "auth": method, **chosen}
    needed = _needed(method)
    lines = [
        f"# Written by `fhir-auth-proxy init`. Start with: fhir-auth-proxy run --config {name}",
        "# `fhir-auth-proxy config schema` tells of every other setting.",
    ]
    for key in dict.fromkeys([*values, *needed, *TAKES.get(method, ()), "ca_bundle"]):
        lines += ["", *_explained(key, is_needed=key in needed and key not in values)]
        lines.append(f"{key} = {_toml(key, values[key])}" if key in values else f"# {key} = {_example(key)}")
    return "\n".join(lines) + "\n"


def _needed(method: AuthMethod) -> tuple[str, ...]:
    """Of each group in NEEDS the first that may stand in a file; people need an app registration as well."""
    if method in BY_A_PERSON:
        return ("client_id",)
    return tuple(next(key for key in group if not SETTINGS[key].is_secret) for group in NEEDS.get(method, ()))


def _explained(key: str, *, is_needed: bool) -> Iterator[str]:
    text = describe(SETTINGS[key])
    for line in wrap(f"Needed: {text}" if is_needed else text, WIDTH - 2):
        yield f"# {line}"


def _toml(key: str, value: str) -> str:
    """As TOML: its basic strings are JSON's, but for DEL (TOML 1.0, section String)."""
    text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return f"[{text}]" if SETTINGS[key].is_list else text


def _example(key: str) -> str:
    return default_text(SETTINGS[key]) or _toml(key, "")
