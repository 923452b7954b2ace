"""The audience of tokens: what is asked for, and what to say when the server expects another one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from ..config import ServerConfig
from ..errors import ConfigError
from ..model import Challenge
from .challenges import bearer_parameter, one_line

OTHER_SERVICES = frozenset(
    {
        # hosts
        "graph.microsoft.com",
        "graph.microsoft.us",
        "microsoftgraph.chinacloudapi.cn",
        "graph.windows.net",
        "management.azure.com",
        "management.core.windows.net",
        "management.usgovcloudapi.net",
        "management.chinacloudapi.cn",
        "vault.azure.net",
        "vault.usgovcloudapi.net",
        "vault.azure.cn",
        "storage.azure.com",
        "outlook.office365.com",
        # application ids of the same: Graph, Azure AD Graph, Resource Manager, Key Vault, Storage
        "00000003-0000-0000-c000-000000000000",
        "00000002-0000-0000-c000-000000000000",
        "797f4846-ba00-4fd7-ba43-dac1f8f63013",
        "cfa8b339-82a2-471a-a3c9-0fc0be7a4093",
        "e406a681-f3d4-42a8-90b6-c2b029497af1",
    }
)
"""Audiences whose tokens open something else than health data; a FHIR server has no business with them."""

STORAGE_AUDIENCE = "https://storage.azure.com"
"""What tokens for any of Azure's storage accounts are made for (Microsoft, "Authorize with Microsoft Entra ID").
Asked for only where the settings name accounts; the FHIR server never gets such a token."""

AUDIENCE_PARAMETERS = ("resource_id", "resource")
"""The second name is Key Vault's."""

# What can be pasted into a shell without meaning anything there.
_PASTABLE = re.compile(r"[A-Za-z0-9:/._-]{1,200}")


def audience(config: ServerConfig) -> str:
    """The audience of the tokens: as configured, otherwise the base URL, without a slash at its end.

    A configured one is taken to the letter, since Entra compares it so. ConfigError where its tokens would
    open another Microsoft service.
    """
    wanted = config.audience or str(config.base_url)
    if _opens_other_service(wanted) and _host(wanted) != config.base_url.host:
        raise ConfigError(
            f"The audience {wanted!r} belongs to another Microsoft service than {config.base_url}, which "
            "would be handed a token for it.",
            hint="Give the audience of the FHIR server with --audience, or leave it out for its base URL.",
        )
    return wanted


def audience_mismatch(config: ServerConfig, challenges: Sequence[Challenge], ours: str = "") -> str:
    """What to tell a person when the server expects another audience than ours; empty where it does not.

    `ours` is the token's, by default the one that would be asked for.
    The server's wish is offered and never adopted: it could name any other service.
    """
    expected = bearer_parameter(challenges, AUDIENCE_PARAMETERS)
    ours = ours or config.audience or str(config.base_url)
    if not expected or expected == ours:
        return ""
    mismatch = f"The server expects the audience {one_line(expected)!r}, and the token was made for {ours!r}"
    if _opens_other_service(expected):
        return f"{mismatch}. That is another Microsoft service: the server has no business with such a token."
    if not _PASTABLE.fullmatch(expected):
        return f"{mismatch}."
    return f"{mismatch}; if that is the server's own application, use --audience {expected}"


def _host(text: str) -> str:
    try:
        return (urlsplit(text).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _opens_other_service(audience_: str) -> bool:
    name = audience_.strip().rstrip("/").lower()
    return name.removeprefix("spn:").removeprefix("api://") in OTHER_SERVICES or _host(name) in OTHER_SERVICES
