"""Sign-ins kept between two runs: one file for each app registration at each authority.

What is kept are accounts and refresh tokens. Access tokens are not: they open patient data by themselves, and a
new one costs one request. The text is MSAL's own JSON in an envelope that names authority and client.

Processes share it: the lock is held from reading until writing, the request to Entra ID between them included,
so that of two processes the second renews with the refresh token that the first has brought. It is a lock of
the operating system, which ends with its process; a file left behind means nothing.

A disk that fills up or turns read-only under a sign-in ends no sign-in: it goes on in memory, what is kept stays
as it is, and is written again as soon as that works.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..errors import ConfigError
from ..rules.accounts import Account
from .earlier_run import ENCRYPTED, FILE
from .keeping import Serializable, Tokens
from .keyring import Keyring, KeyringMissing
from .private_file import PrivateFile, make_folder

FORMAT = 1
LOCK_SECONDS = 8.0
"""How long another process may hold the lock; Entra ID answers within one. After that both go on."""

LOCK = ".lock"

_ACCOUNTS, _REFRESH_TOKENS = "Account", "RefreshToken"
_SECTIONS = (_ACCOUNTS, _REFRESH_TOKENS, "IdToken", "AppMetadata")
"""The parts of MSAL's cache that are kept."""

Warn = Callable[[str], None]
Sections = dict[str, dict[str, dict[str, object]]]

_log = logging.getLogger(__name__)


class Store(Protocol):
    """A text at rest."""

    path: Path

    def read(self) -> str | None:
        """The text, None where there is none; ValueError where it is damaged."""

    def write(self, text: str) -> None:
        """Keep the text in the place of what was there."""

    def delete(self) -> None:
        """Forget it."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """One account that is kept, with when its refresh token came, in Unix seconds."""

    account: Account
    authority: str
    client_id: str
    renewed_at: float


class Kept:
    """The sign-ins of one app registration at one authority. It blocks; ConfigError where a file is unsafe."""

    def __init__(self, store: Store, authority: str, client_id: str, warn: Warn = _log.warning) -> None:
        self._store = store
        self._authority = authority
        self._client_id = client_id
        self._warn = warn
        self._unsaved: Sections = {}
        self._is_damaged = False

    def look(self, cache: Serializable) -> Tokens:  # noqa: ARG002  a Keeping
        """Access tokens are not kept."""
        return {}

    @contextmanager
    def shared(self, cache: Serializable) -> Iterator[Tokens]:
        """Fill MSAL's cache with what is kept now, and keep what it holds at the end.

        ConfigError where the system lets nothing be kept and there is no sign-in to go on with.
        """
        with ExitStack() as turn:
            refusal = None
            try:
                turn.enter_context(self._locked())
            except OSError as error:
                refusal = error
            try:
                kept = self._read()
            except OSError as error:
                refusal, kept = error, None
            if refusal is not None and not (_has_accounts(kept) or _has_accounts(_held_by(cache))):
                raise self._inaccessible(refusal) from refusal
            if kept is not None:  # otherwise go on with what is in memory
                cache.deserialize(json.dumps(_merged(kept, self._unsaved)))
            try:
                yield {}
            finally:
                if cache.has_state_changed or self._unsaved or kept is None:
                    self._keep(_held_by(cache), refusal)

    def check(self) -> None:
        """The system's lock ends with its process and not before."""

    def close(self) -> None:
        """Nothing stays open."""

    def accounts(self) -> list[SignedIn]:
        """Who is signed in."""
        with self._accessible():
            sections = self._read() or {}
        accounts = [account_of_entry(entry) for entry in sections.get(_ACCOUNTS, {}).values()]
        return [
            SignedIn(account, self._authority, self._client_id, _renewed_at(sections, account))
            for account in accounts
            if _renewed_at(sections, account)
        ]

    def forget(self, account: Account) -> None:
        """Delete an account with its refresh token; the last one takes the file along."""
        with self._accessible(), self._locked():
            left = {
                name: {
                    key: entry
                    for key, entry in entries.items()
                    if entry.get("home_account_id") != account.home_account_id
                }
                for name, entries in (self._read() or {}).items()
            }
            if left.get(_ACCOUNTS):
                self._store.write(self._text(left))
            else:
                self._store.delete()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        path = self._store.path.with_suffix(LOCK)
        try:
            import portalocker  # noqa: PLC0415  with it comes a client of Redis, where one is installed: 5 MB
        except OSError as error:  # it looks for a folder for temporary files, and a full disk has none
            _log.info("%s is not locked: %s", path, error)
            yield
            return
        lock = portalocker.Lock(path, "a", timeout=LOCK_SECONDS, check_interval=0.05)
        try:
            make_folder(path.parent)
            lock.acquire()
        except portalocker.LockException:
            _log.warning("%s is held by another process for long; going on without it", path)
        try:
            yield
        finally:
            lock.release()

    def _read(self) -> Sections | None:
        """What is kept; None where it is damaged."""
        try:
            return self._opened(self._store.read() or "")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            if not self._is_damaged:
                self._warn(f"{self._store.path}, where sign-ins are kept, is damaged and not used")
            self._is_damaged = True
            return None

    def _opened(self, text: str) -> Sections:
        if not text:
            return {}
        envelope = json.loads(text)
        if (envelope["format"], envelope["authority"], envelope["client_id"]) != self._identity():
            raise ValueError("it belongs to another sign-in")
        return sections_of(envelope["cache"])

    def _keep(self, sections: Sections, refusal: OSError | None) -> None:
        """Write, unless the system has refused before; what it refuses waits in memory for the next time."""
        try:
            if refusal is not None:
                raise refusal
            self._store.write(self._text(sections))
        except OSError as error:
            if not self._unsaved:
                self._warn(
                    f"The sign-in could not be kept in {self._store.path}: {error.strerror or error}. "
                    "It lasts until the proxy stops."
                )
            self._unsaved = sections
        else:
            self._unsaved, self._is_damaged = {}, False

    def _text(self, sections: Sections) -> str:
        names = dict(zip(("format", "authority", "client_id"), self._identity(), strict=True))
        return json.dumps({**names, "cache": sections})

    @contextmanager
    def _accessible(self) -> Iterator[None]:
        """ConfigError where the system refuses, for whoever is told at once."""
        try:
            yield
        except OSError as error:
            raise self._inaccessible(error) from error

    def _inaccessible(self, error: OSError) -> ConfigError:
        return ConfigError(
            f"{self._store.path}, where sign-ins are kept, cannot be used: {error.strerror or error}",
            hint='Let this user write there, name another place by XDG_STATE_HOME, or set token_cache = "none".',
        )

    def _identity(self) -> tuple[int, str, str]:
        return FORMAT, self._authority, self._client_id


def store_path(folder: Path, authority: str, client_id: str, suffix: str) -> Path:
    """The file of an app registration at an authority: its name tells nobody which."""
    digest = hashlib.sha256(f"{authority}\n{client_id}".encode()).hexdigest()
    return folder / f"{digest[:32]}{suffix}"


def all_kept(folder: Path, warn: Warn) -> list[Kept]:
    """Everything that is kept in a folder, encrypted or not; what cannot be opened is told and left out."""
    found = []
    kinds: Mapping[str, Callable[[Path], Store]] = {FILE: PrivateFile, ENCRYPTED: Keyring}
    for path in sorted(folder.glob("*")):
        if path.suffix not in kinds or path.name.startswith("."):
            continue
        try:
            store = kinds[path.suffix](path)
            text = store.read()
            if not text:
                continue
            envelope = json.loads(text)
            found.append(Kept(store, str(envelope["authority"]), str(envelope["client_id"]), warn))
        except (ValueError, KeyError, TypeError):
            warn(f"{path} is damaged; delete it")
        except (KeyringMissing, OSError) as error:
            warn(f"{path} cannot be read: {error}")
    return found


def sections_of(cache: object) -> Sections:
    """What is kept of MSAL's cache; ValueError for what is none."""
    if not isinstance(cache, dict):
        raise ValueError("it is no token cache")  # noqa: TRY004  like all that is damaged
    kept: Sections = {}
    for name in _SECTIONS:
        entries = cache.get(name, {})
        if not (isinstance(entries, dict) and all(isinstance(entry, dict) for entry in entries.values())):
            raise ValueError("it is no token cache")
        kept[name] = entries
    return kept


def _held_by(cache: Serializable) -> Sections:
    return sections_of(json.loads(cache.serialize()))


def _has_accounts(sections: Sections | None) -> bool:
    return bool(sections and sections.get(_ACCOUNTS))


def _merged(kept: Sections, ours: Sections) -> Sections:
    """What is kept, with what could not be written so far over it."""
    return {name: {**kept.get(name, {}), **ours.get(name, {})} for name in _SECTIONS}


def account_of_entry(entry: Mapping[str, object]) -> Account:
    """An account as MSAL describes it."""
    home = str(entry.get("home_account_id") or "")
    tenant = str(entry.get("realm") or "").lower()
    return Account(str(entry.get("username") or ""), tenant, home.rpartition(".")[2].lower(), home)


def _renewed_at(sections: Sections, account: Account) -> float:
    """When the account's latest refresh token came; 0 where it has none."""
    moments = [
        float(str(entry.get("last_modification_time") or 1))
        for entry in sections.get(_REFRESH_TOKENS, {}).values()
        if entry.get("home_account_id") == account.home_account_id
    ]
    return max(moments, default=0.0)
