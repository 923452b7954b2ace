"""The setting `token_cache` -> where sign-ins are kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial

from ..config import ServerConfig
from ..errors import ConfigError
from .authorities import Authority
from .keeping import Keeping, Place
from .kept import ENCRYPTED, FILE, Kept, Warn, store_path
from .keyring import Keyring, KeyringMissing
from .private_file import PrivateFile, state_folder
from .seams import Tell

_Kind = Callable[[ServerConfig, Tell, Authority], Keeping | None]


def personal_place(config: ServerConfig, tell: Tell) -> Place | None:
    """Where people's sign-ins are kept; None where they end with the process.

    The place raises ConfigError where encryption is demanded and not to be had.
    """
    kind = PERSONAL[config.token_cache]
    return None if kind is None else partial(kind, config, tell)


def _in_file(config: ServerConfig, tell: Tell, authority: Authority) -> Kept:
    path = store_path(state_folder(os.environ), authority.url, config.client_id, FILE)
    return Kept(PrivateFile(path), authority.url, config.client_id, _warning(config, tell))


def _encrypted(config: ServerConfig, tell: Tell, authority: Authority) -> Kept:
    path = store_path(state_folder(os.environ), authority.url, config.client_id, ENCRYPTED)
    try:
        return Kept(Keyring(path), authority.url, config.client_id, _warning(config, tell))
    except (KeyringMissing, OSError) as error:
        raise ConfigError(
            f'token_cache = "encrypted" cannot be had here: {error}.',
            hint='On Linux it needs a desktop session and PyGObject. Set token_cache = "file" to keep sign-ins '
            'in a file that only you can read, or "none" to sign in at every start.',
        ) from error


def _best(config: ServerConfig, tell: Tell, authority: Authority) -> Keeping | None:
    try:
        return _encrypted(config, tell, authority)
    except ConfigError:
        tell(
            f"{config.base_url}: the sign-in lasts until the proxy stops, since nothing here can encrypt it on "
            'disk; token_cache = "file" keeps it in a file that only you can read'
        )
        return None


def _warning(config: ServerConfig, tell: Tell) -> Warn:
    return partial(_tell_of, tell, str(config.base_url))


def _tell_of(tell: Tell, base_url: str, line: str) -> None:
    tell(f"{base_url}: {line}")


PERSONAL: Mapping[str, _Kind | None] = {
    "auto": _best,
    "encrypted": _encrypted,
    "file": _in_file,
    "none": None,
}
"""Where a person's sign-ins are kept, by the setting's value."""
