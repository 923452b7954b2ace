"""A file for secrets: its owner's alone, written whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ..errors import ConfigError

APPLICATION = "fhir-auth-proxy"

OTHERS = 0o077
"""The permission bits of everybody but the owner."""

# Windows knows neither; there a profile's folders are closed to others by their access lists.
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_OWNERS_EXIST = hasattr(os, "geteuid")


def state_folder(environment: Mapping[str, str], platform: str = sys.platform) -> Path:
    """Where a program keeps what it must not lose between two runs, by each system's own rule.

    XDG Base Directory Specification 0.8: a relative path in XDG_STATE_HOME is to be ignored. ConfigError
    where the user has no home.
    """
    if platform == "win32" and environment.get("LOCALAPPDATA"):
        return Path(environment["LOCALAPPDATA"]) / APPLICATION
    named = Path(environment.get("XDG_STATE_HOME", ""))
    if platform not in {"win32", "darwin"} and named.is_absolute():
        return named / APPLICATION
    try:
        home = Path(environment["HOME"]) if environment.get("HOME") else Path.home()
    except RuntimeError as error:
        raise ConfigError(
            "This user has no home directory to keep a sign-in in",
            hint='Set XDG_STATE_HOME to a folder of this user, or token_cache = "none".',
        ) from error
    places = {"darwin": "Library/Application Support", "win32": "AppData/Local"}
    return home / places.get(platform, ".local/state") / APPLICATION


class PrivateFile:
    """A text in a file of mode 0600, in a folder of mode 0700.

    ConfigError for a file or folder that is a symbolic link, somebody else's, or open to others: what stands
    there may be planted, or read by them already. OSError where the system refuses.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> str | None:
        """The text; None where there is no such file. ValueError where it is not UTF-8."""
        if not self.path.parent.exists():
            return None
        check_folder(self.path.parent)
        self.check()  # opening a pipe would wait for its other end
        try:
            descriptor = os.open(self.path, os.O_RDONLY | _NO_FOLLOW)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise _refused(self.path, "is a symbolic link") from error
            raise
        with open(descriptor, encoding="utf-8") as file:
            _check(self.path, os.fstat(descriptor), is_kind=stat.S_ISREG)
            return file.read()

    def write(self, text: str) -> None:
        """Put the text into the place of what was there, at once: a crash leaves the old one."""
        make_folder(self.path.parent)
        self.check()
        draft = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW, 0o600)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            os.replace(draft, self.path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        _sync_folder(self.path.parent)

    def delete(self) -> None:
        """Remove the file, if there is one."""
        self.path.unlink(missing_ok=True)

    def check(self) -> None:
        """Check what is there, without reading it."""
        with suppress(FileNotFoundError):
            _check(self.path, os.lstat(self.path), is_kind=stat.S_ISREG)


def make_folder(folder: Path) -> None:
    """Make a folder that is open to its owner alone, if there is none."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_folder(folder)


def check_folder(folder: Path) -> None:
    """Raise ConfigError for a folder in which others could plant or read something."""
    _check(folder, os.lstat(folder), is_kind=stat.S_ISDIR)


def _check(path: Path, status: os.stat_result, *, is_kind: object) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise _refused(path, "is a symbolic link")
    if callable(is_kind) and not is_kind(status.st_mode):
        raise _refused(path, "is not of the kind that is expected there")
    if not _OWNERS_EXIST:
        return
    if status.st_uid != os.geteuid():
        raise _refused(path, "belongs to another user")
    if status.st_mode & OTHERS:
        mode = "700" if stat.S_ISDIR(status.st_mode) else "600"
        raise _refused(path, "is open to other users", f"Close it: chmod {mode} '{path}'. ")


def _refused(path: Path, words: str, fix: str = "") -> ConfigError:
    return ConfigError(
        f"{path}, where sign-ins are kept, {words}. It is neither read nor written.",
        hint=f'{fix}Remove it to sign in anew, or set token_cache = "none".',
    )


def _sync_folder(folder: Path) -> None:
    """Make the new name last as well; systems that cannot open folders do that by themselves."""
    if _OWNERS_EXIST:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
