"""Which identities the settings give, whatever the method: `auto` takes the one there is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..config import AuthMethod, ServerConfig


@dataclass(frozen=True, slots=True)
class Identity:
    """The settings of which one gives an identity, and what people call it."""

    keys: tuple[str, ...]
    name: str


IDENTITIES: Mapping[AuthMethod, Identity] = MappingProxyType(
    {
        "token": Identity(("token", "token_file"), "token"),
        "client-secret": Identity(("client_secret", "client_secret_file"), "client secret"),
        "client-certificate": Identity(("client_certificate_file",), "client certificate"),
        # Not GitHub's variables: every job has them that may ask for any id token.
        "workload-identity": Identity(("federated_token_file",), "federated token file"),
        # Not the client id alone, which is a person's app registration as well.
        "managed-identity": Identity(
            ("managed_identity_resource_id", "managed_identity_object_id"), "managed identity"
        ),
        "command": Identity(("command",), "command"),
    }
)

APP_METHODS: frozenset[AuthMethod] = frozenset({"client-secret", "client-certificate", "workload-identity"})
"""Those that prove an app's identity to Entra ID: their proof never follows a challenge."""

PERSON_METHODS: frozenset[AuthMethod] = frozenset({"interactive", "device-code"})
"""Those by which a person signs in here."""

PERSON_METHODS_OR_AUTO = PERSON_METHODS | {"auto"}
"""The same with the one that may become such a method."""


def configured(config: ServerConfig) -> tuple[AuthMethod, ...]:
    """The methods for which an identity is there."""
    return tuple(
        method
        for method, identity in IDENTITIES.items()
        if any(getattr(config, key) for key in identity.keys)
    )
