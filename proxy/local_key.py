"""The key that tools have to show at a listener, where its settings ask for one."""

from __future__ import annotations

import re
from pathlib import Path

from .config import ServerConfig
from .errors import ConfigError

_KEY = re.compile(r"[A-Za-z0-9_-]{16,128}")


def read_local_key(config: ServerConfig) -> bytes:
    """The key, from the setting or its file; empty where none is asked for. ConfigError never quotes it."""
    if config.key is not None:
        text, source = config.key.value, "key"
    elif config.key_file:
        source = f"key_file = {config.key_file}"
        try:
            text = Path(config.key_file).read_text(encoding="utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{source} cannot be read ({type(error).__name__}).") from error
    else:
        return b""
    if not _KEY.fullmatch(text):
        raise ConfigError(
            f"{source}: a key has 16 to 128 letters, digits, '-' and '_', so that it can stand in a URL.",
            hint='Make one: python -c "import secrets; print(secrets.token_urlsafe())"',
        )
    return text.encode("ascii")
