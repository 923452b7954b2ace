"""Small files that others write and replace: secrets, passwords, assertions."""

from __future__ import annotations

import os
import stat

from ..errors import AuthenticationFailed

MAX_BYTES = 1024 * 1024
"""Far more than a chain of certificates or an assertion has."""


def read_bytes(setting: str, path: str, *, hint: str) -> bytes:
    """The whole content; AuthenticationFailed names the setting and the file, with the hint."""
    words = ""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            words = "is not a regular file"  # opening a pipe would wait for its other end
        elif status.st_size > MAX_BYTES:
            words = f"is larger than {MAX_BYTES // 1024} KiB"
        else:
            with open(path, "rb") as file:
                content = file.read(MAX_BYTES)
            if content.strip():
                return content
            words = "is empty"
    except OSError as error:
        words = f"cannot be read: {error.strerror or type(error).__name__}"
    raise AuthenticationFailed(f"{setting} = {path!r} {words}", hint=hint)


def read_line(setting: str, path: str, *, hint: str) -> str:
    """The content without white space around it, as people write a password or a program a token."""
    content = read_bytes(setting, path, hint=hint)
    try:
        return content.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise AuthenticationFailed(
            f"{setting} = {path!r} cannot be read: it is not UTF-8", hint=hint
        ) from None
