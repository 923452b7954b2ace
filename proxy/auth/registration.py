"""The app registration to sign in with: what the settings have to name, its scope, its authority."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ..config import ServerConfig
from ..config.settings import SETTINGS
from ..errors import ConfigError
from ..rules.audiences import audience
from ..rules.challenges import parse_challenges
from .authorities import Authority, authority, holds_secret
from .seams import Probe


class Permission(StrEnum):
    """What is asked for at the audience: exactly one scope, so that one resource is named."""

    PERSON = "user_impersonation"
    """Act as the person who signs in."""
    APP = ".default"
    """What an administrator has granted to the app (AADSTS1002012 without it)."""


@dataclass(frozen=True, slots=True)
class Registration:
    """An app registration and what it asks for."""

    client_id: str
    audience: str
    permission: Permission
    base_url: str
    ca_bundle: str = ""

    @property
    def scope(self) -> str:
        """Audience and permission; Entra ID takes what stands before the last slash as the audience."""
        return f"{self.audience}/{self.permission}"


def registration(config: ServerConfig, permission: Permission) -> Registration:
    """The registration that the settings name; ConfigError where the audience is not one to ask for."""
    return Registration(
        config.client_id, audience(config), permission, str(config.base_url), config.ca_bundle
    )


def require(config: ServerConfig, alternatives: Sequence[tuple[str, ...]]) -> None:
    """Raise ConfigError that names every group of settings of which none is given."""
    missing = [keys for keys in alternatives if not any(getattr(config, key) for key in keys)]
    if missing:
        names = "; ".join(" or ".join(_names(key) for key in keys) for keys in missing)
        raise ConfigError(f"The method {config.auth!r} needs {names}", hint=f"Set {names}.")


def authority_when_needed(config: ServerConfig, probe: Probe) -> Callable[[], Awaitable[Authority]]:
    """Where to sign in: as configured, which is checked now, otherwise as the server's challenge says later.

    With a secret the server is not asked: a secret never follows a challenge.
    """
    is_settled = holds_secret(config) or config.tenant or config.authority
    configured = authority(config) if is_settled else None

    async def decide() -> Authority:
        if configured is not None:
            return configured
        answer = await probe()
        return authority(config, parse_challenges(answer.fields))

    return decide


def _names(key: str) -> str:
    """A setting under all its names: key, flag, environment variables."""
    setting = SETTINGS[key]
    others = (setting.flag, setting.variable, setting.shown.ecosystem)
    return f"{key} ({', '.join(name for name in others if name)})"
