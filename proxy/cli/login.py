"""`login`: sign in now, so that a later start needs nobody."""

from __future__ import annotations

import asyncio

from ..auth.identities import PERSON_METHODS_OR_AUTO
from ..config import ServerConfig
from ..errors import ConfigError
from ..server import Proxy
from .options import read_settings, settings_command
from .terminal import tell, terminal_seams

NOWHERE = "none"


@settings_command(
    "Sign in now: what is kept of it lets a later start sign in by itself.",
    "fhir-auth-proxy login https://example.azurehealthcareapis.com --token-cache file",
    "fhir-auth-proxy login --config servers.toml --account ada@example.org",
    name="login",
)
def command(base_url: str | None, config_file: str | None, **flags: object) -> None:
    """Sign in to each server of the settings, one after the other."""
    for server in read_settings(base_url, config_file, flags).config.servers:
        if server.auth not in PERSON_METHODS_OR_AUTO:  # there is nothing to keep
            tell(f"{server.base_url}: nobody signs in with the method {server.auth}")
            continue
        if server.token_cache == NOWHERE:
            raise ConfigError(
                f'token_cache = "none" keeps nothing of a sign-in to {server.base_url}',
                hint='Set token_cache to "auto", "encrypted" or "file".',
            )
        asyncio.run(_sign_in(server))


async def _sign_in(server: ServerConfig) -> None:
    proxy = Proxy(server, terminal_seams())
    try:
        await proxy.sign_in()
    finally:
        await proxy.stop(0)
