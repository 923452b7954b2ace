"""Text that only the holders of a key can read or make: AES-256-GCM (NIST SP 800-38D)."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import ConfigError

KEY_BYTES = 32

_FORMAT = b"\x01"
_NONCE_BYTES = 12
"""The nonce is random. One key may seal 2**32 texts (SP 800-38D section 8.3), one a second for a century."""

MARK_BYTES = len(_FORMAT) + _NONCE_BYTES
"""How many bytes at its beginning tell a sealed text from every other one."""


class Unreadable(Exception):
    """None of our keys opens it: sealed with another one, changed, or made for another name."""


@dataclass(frozen=True, slots=True)
class Seal:
    """Keys of which the first seals and all open."""

    keys: Sequence[bytes] = field(repr=False)

    def sealed(self, text: str, name: str) -> bytes:
        """The text for one name: under another one it does not open."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  6 MB, for few

        nonce = os.urandom(_NONCE_BYTES)
        return _FORMAT + nonce + AESGCM(self.keys[0]).encrypt(nonce, text.encode(), _bound(name))

    def opened(self, sealed: bytes, name: str) -> str:
        """The text; Unreadable where no key opens it."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415  as above
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  as above

        nonce, content = sealed[len(_FORMAT) : MARK_BYTES], sealed[MARK_BYTES:]
        if not sealed.startswith(_FORMAT) or len(nonce) < _NONCE_BYTES:
            raise Unreadable("it is nothing that was sealed here")
        for key in self.keys:
            try:
                return AESGCM(key).decrypt(nonce, content, _bound(name)).decode()
            except InvalidTag:
                continue
        raise Unreadable("none of the keys opens it")


def seal_of(text: str, setting: str) -> Seal:
    """The keys in a setting's text, each base64 of 32 bytes, between them white space or commas.

    ConfigError that names the setting and quotes nothing.
    """
    keys = [_key(word) for word in re.split(r"[\s,]+", text) if word]
    right = [key for key in keys if key is not None]
    if not right or len(right) < len(keys):
        which = f"its key {keys.index(None) + 1}" if None in keys else "it"
        raise ConfigError(
            f"{setting} holds no key: {which} is not base64 of {KEY_BYTES} bytes",
            hint="Make one: openssl rand -base64 32",
        )
    return Seal(tuple(right))


def _key(word: str) -> bytes | None:
    try:
        key = base64.b64decode(word.translate(str.maketrans("-_", "+/")), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) == KEY_BYTES else None


def _bound(name: str) -> bytes:
    return b"fhir-auth-proxy token cache\n" + name.encode()
