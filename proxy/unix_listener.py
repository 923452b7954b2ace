"""A listener that file permissions guard: a Unix socket that only its owner can reach."""

from __future__ import annotations

import os
import socket
import stat
import sys
from contextlib import suppress

from .errors import ConfigError


class UnixListener:
    """A bound socket at a path: 0600, in a folder that is its owner's alone (0700).

    Some systems do not look at a socket's own mode, so that the folder is what guards it (unix(7)).
    """

    def __init__(self, path: str) -> None:
        """Make the folder where it is missing, and the socket; ConfigError tells what stands in the way."""
        if sys.platform == "win32":
            raise ConfigError(
                f"listen = unix:{path}: Windows has no Unix sockets that Python can listen on.",
                hint="Listen on localhost, and set key_file where others use this machine.",
            )
        self.path = path
        try:
            _own_folder(os.path.dirname(path))
            _remove_stale(path)
            self.socket = _bound(path)
            self._identity = _identity(path)
        except OSError as error:
            raise ConfigError(
                f"listen = unix:{path}: no socket can be made there ({error.strerror or error}).",
                hint="Name a path of up to 100 bytes in a folder of your own.",
            ) from error

    def remove(self) -> None:
        """Take the socket away, if it is still this one."""
        with suppress(OSError):
            if _identity(self.path) == self._identity:
                os.unlink(self.path)


def _identity(path: str) -> tuple[int, int, int]:
    """What tells a socket from another one at its path; the number of an inode alone is given again."""
    found = os.lstat(path)
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _own_folder(folder: str) -> None:
    with suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise ConfigError(
            f"listen: the folder {folder} has to be yours and closed to others, since it guards the socket in it.",
            hint=f"chmod 700 {folder}, or name a folder that does not exist yet.",
        )


def _remove_stale(path: str) -> None:
    """Take away the socket of a program that is gone; never a file, nor one on which somebody listens."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
        raise ConfigError(
            f"listen = unix:{path}: something else is there, and it is not removed.",
            hint="Name another path.",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise ConfigError(
        f"listen = unix:{path}: another program listens there.", hint="Stop it, or name another path."
    )


def _bound(path: str) -> socket.socket:
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        bound.bind(path)
    except OSError:
        bound.close()
        raise
    finally:
        os.umask(before)
    return bound
