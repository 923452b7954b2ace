"""The setting `token_cache` -> where sign-ins are kept, and where replicas share tokens."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from secrets import token_hex

from ..config import ServerConfig
from ..errors import AuthenticationFailed, ConfigError
from .authorities import Authority
from .clock import Clock
from .earlier_run import ENCRYPTED, FILE
from .keeping import Keeping, Place
from .kept import Kept, Warn, store_path
from .keyring import Keyring, KeyringMissing
from .private_file import PrivateFile, state_folder
from .seal import seal_of
from .seams import Tell
from .shared import Shared, Unavailable
from .shared_content import Kind, Owner
from .small_files import read_line

KEY_HINT = "Name a file that holds the keys and that the proxy may read; make one: openssl rand -base64 32"

_Kept = Callable[[ServerConfig, Tell, Authority], Keeping | None]


def personal_place(config: ServerConfig, clock: Clock, tell: Tell) -> Place | None:
    """Where people's sign-ins are kept; None where they end with the process.

    The place raises ConfigError where encryption is demanded and not to be had. Raises it for a Redis that cannot
    be used as it is set up; whether it answers is no matter here.
    """
    if config.token_cache not in ON_THIS_MACHINE:
        return _in_redis(config, clock, "person")
    kind = ON_THIS_MACHINE[config.token_cache]
    return None if kind is None else partial(kind, config, tell)


def app_place(config: ServerConfig, clock: Clock) -> Place | None:
    """Where replicas share the tokens of an app, which needs nothing else to be kept. ConfigError as above."""
    return None if config.token_cache in ON_THIS_MACHINE else _in_redis(config, clock, "app")


def trouble(config: ServerConfig) -> str:
    """What keeps a shared cache from being used, as a sentence; empty where nothing does. It blocks for a second."""
    if config.token_cache in ON_THIS_MACHINE:
        return ""
    from .redis_entries import RedisAddress, RedisEntries  # noqa: PLC0415  as below

    address = RedisAddress.of(config.token_cache)
    entries = RedisEntries(address, config.ca_bundle)
    name, holder = "trial", token_hex(8)
    try:
        entries.take(name, holder, lease=1.0)
        entries.release(name, holder)
    except Unavailable as error:
        return f"The token cache {address} {error}."
    finally:
        entries.close()
    return ""


def _in_redis(config: ServerConfig, clock: Clock, kind: Kind) -> Place:
    from .redis_entries import RedisAddress, RedisEntries, require_client  # noqa: PLC0415  few starts need it

    if config.token_cache_key is not None:
        seal = seal_of(config.token_cache_key.value, "token_cache_key")
    else:
        path = config.token_cache_key_file
        try:
            seal = seal_of(
                read_line("token_cache_key_file", path, hint=KEY_HINT), f"token_cache_key_file = {path!r}"
            )
        except AuthenticationFailed as error:
            raise ConfigError(error.message, hint=error.hint) from error
    require_client()

    def place(authority: Authority) -> Keeping:
        entries = RedisEntries(RedisAddress.of(config.token_cache), config.ca_bundle)
        return Shared(entries, Owner(authority.url, config.client_id, kind), seal, clock)

    return place


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


ON_THIS_MACHINE: Mapping[str, _Kept | None] = {
    "auto": _best,
    "encrypted": _encrypted,
    "file": _in_file,
    "none": None,
}
"""Where a person's sign-ins are kept, by the setting's value; any other is the URL of a Redis."""
