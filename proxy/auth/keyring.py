"""A text at rest under the protection of the operating system: DPAPI, Keychain, libsecret."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .private_file import make_folder

if TYPE_CHECKING:
    from msal_extensions.persistence import BasePersistence

PROBE = "probe"
"""The name of what is written and read once to see whether it works."""


class KeyringMissing(Exception):
    """The system has no such protection here, or it does not work; the text says which."""


class Keyring:
    """A text that only this user of this machine can decrypt; the path names it.

    KeyringMissing where that is not to be had: on Linux without a desktop session, or without PyGObject.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        make_folder(path.parent)
        trial = _persistence(path.with_name(PROBE))
        try:
            trial.save(PROBE)
            works = trial.load() == PROBE
        except Exception as error:
            raise KeyringMissing(_said(error)) from error
        finally:
            path.with_name(PROBE).unlink(missing_ok=True)
        if not works:
            raise KeyringMissing("it does not give back what it was given")
        self._persistence = _persistence(path)

    def read(self) -> str | None:
        """The text, None where there is none; ValueError where it cannot be decrypted."""
        from msal_extensions.persistence import PersistenceNotFound  # noqa: PLC0415  it imports MSAL

        if not self.path.exists():
            return None
        try:
            return str(self._persistence.load())
        except PersistenceNotFound:
            return None
        except Exception as error:
            raise ValueError(_said(error)) from error

    def write(self, text: str) -> None:
        """Encrypt and keep the text; OSError where that fails."""
        try:
            self._persistence.save(text)
        except Exception as error:
            raise OSError(_said(error)) from error

    def delete(self) -> None:
        """Forget the text: what is left in a keyring is empty."""
        if self.path.exists():
            self.write("")
            self.path.unlink(missing_ok=True)


def _persistence(path: Path) -> BasePersistence:
    try:
        from msal_extensions import build_encrypted_persistence  # noqa: PLC0415  it imports MSAL

        return build_encrypted_persistence(str(path))
    except Exception as error:
        raise KeyringMissing(_said(error)) from error


def _said(error: Exception) -> str:
    """The first sentence of a foreign error."""
    return str(error).strip().partition("\n")[0][:200].rstrip(".") or type(error).__name__
