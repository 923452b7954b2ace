"""Sign in as the app itself, with its secret (RFC 6749 section 4.4)."""

from __future__ import annotations

from functools import partial

from ..config import ServerConfig
from .app import app_authenticator
from .seams import Authenticator, Seams
from .small_files import read_line

HINT = "Name a file that holds the secret's value alone and that the proxy may read."


def client_secret(config: ServerConfig, seams: Seams) -> Authenticator:
    """Tokens of the app; ConfigError names what is missing."""
    return app_authenticator(config, seams, "client-secret", partial(_secret, config))


def _secret(config: ServerConfig) -> str:
    """The secret, read anew each time where a file holds it, so that a rotated one needs no restart."""
    if config.client_secret is not None:
        return config.client_secret.value
    return read_line("client_secret_file", config.client_secret_file, hint=HINT)
