"""Whether an earlier run may have left a person's sign-in on this machine: by the names of files alone."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..config import ServerConfig
from ..config.values import TOKEN_CACHES
from .private_file import state_folder

FILE, ENCRYPTED = ".json", ".secret"

SUFFIXES: Mapping[str, str] = {"auto": ENCRYPTED, "encrypted": ENCRYPTED, "file": FILE}
"""The names' ends of what is kept on this machine, by the setting `token_cache`."""


def may_be_kept(config: ServerConfig) -> bool:
    """Whether an earlier run may have left a person's sign-in; nothing is opened to see whose."""
    if config.token_cache not in TOKEN_CACHES:
        return True
    suffix = SUFFIXES.get(config.token_cache, "")
    return bool(suffix) and any(state_folder(os.environ).glob(f"*{suffix}"))
