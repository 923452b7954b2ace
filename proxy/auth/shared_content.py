"""What replicas share of one app registration: people's sign-ins and access tokens, as one text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from typing import Literal

from .keeping import Obtained, Tokens, account_of
from .kept import Sections, sections_of
from .sources import AccessToken

FORMAT = 1

REFRESH_TOKEN_LIFE = 90 * 86_400.0
"""Seconds that Entra ID lets a refresh token lie unused (Microsoft, "Refresh tokens in the Microsoft identity
platform")."""

_ACCOUNT = "home_account_id"
"""MSAL's key for whose an entry is."""

_MODIFIED = "last_modification_time"
"""MSAL's key for when it put a refresh token into its cache, in whole Unix seconds."""


Kind = Literal["app", "person"]


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose sign-ins and tokens something holds: an app's own, or those of the people who use it."""

    authority: str
    client_id: str
    kind: Kind

    @property
    def name(self) -> str:
        """A name that tells nobody which."""
        return sha256("\n".join(asdict(self).values()).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Content:
    """One state of what is shared. Two with different epochs have no history in common: one had been lost."""

    epoch: str = ""
    sections: Sections = field(default_factory=lambda: sections_of({}), repr=False)
    tokens: Tokens = field(default_factory=dict, repr=False)
    left: frozenset[str] = frozenset()
    """The accounts that have signed out, so that no replica brings back what it has of them."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it to keep."""
        return not self.tokens and not self.sections["Account"] and not self.left

    @property
    def accounts(self) -> frozenset[str]:
        """Who is signed in, as MSAL identifies them."""
        return _accounts_of(self.sections)

    def ends_at(self, now: float) -> float:
        """When the last of what it holds is of no use any more; that a token is in use counts as now."""
        ends = [held.token.expires_at for held in self.tokens.values()]
        if self.sections["RefreshToken"] or self.left:
            ends.append(now + REFRESH_TOKEN_LIFE)
        return max(ends, default=now)

    def without_expired(self, now: float) -> Content:
        """The same without access tokens that have ended."""
        alive = {purpose: held for purpose, held in self.tokens.items() if held.token.expires_at > now}
        return replace(self, tokens=alive)

    def changed(self, sections: Sections, tokens: Tokens) -> Content:
        """What it becomes: of an account that is not in the sections any more, nothing stays."""
        now = _accounts_of(sections)
        return _parted(Content(self.epoch, sections, tokens, (self.left | self.accounts) - now))

    def joined(self, ours: Content) -> Content:
        """Both in one, where ours has not seen all of this: what came later counts, in doubt this.

        Who has left one of them has left both.
        """
        sections = {name: _later(entries, ours.sections[name]) for name, entries in self.sections.items()}
        tokens = dict(self.tokens)
        for purpose, held in ours.tokens.items():
            if purpose not in tokens or held.at > tokens[purpose].at:
                tokens[purpose] = held
        return _parted(Content(self.epoch, sections, tokens, self.left | ours.left))

    def text(self, owner: Owner) -> str:
        """As JSON, with whose it is."""
        tokens = {
            purpose: [held.token.value, held.token.expires_at, held.token.refresh_at, held.at]
            for purpose, held in self.tokens.items()
        }
        content = {"cache": self.sections, "tokens": tokens, "left": sorted(self.left)}
        return json.dumps({"format": FORMAT, **asdict(owner), "epoch": self.epoch, **content})

    @classmethod
    def of(cls, text: str, owner: Owner) -> Content:
        """Read it; ValueError, KeyError or TypeError for what is something else."""
        envelope = json.loads(text)
        if envelope["format"] != FORMAT or any(
            envelope[name] != value for name, value in asdict(owner).items()
        ):
            raise ValueError("it belongs to another sign-in")
        tokens = {
            purpose: Obtained(AccessToken(str(value), float(expires_at), float(refresh_at)), float(at))
            for purpose, (value, expires_at, refresh_at, at) in envelope["tokens"].items()
        }
        left = frozenset(map(str, envelope["left"]))
        return cls(str(envelope["epoch"]), sections_of(envelope["cache"]), tokens, left)


def _accounts_of(sections: Sections) -> frozenset[str]:
    return frozenset(str(entry.get(_ACCOUNT)) for entry in sections["Account"].values())


def _parted(content: Content) -> Content:
    """The same without anything of those who have left."""
    left = content.left
    sections = {
        name: {key: entry for key, entry in entries.items() if entry.get(_ACCOUNT) not in left}
        for name, entries in content.sections.items()
    }
    tokens = {purpose: held for purpose, held in content.tokens.items() if account_of(purpose) not in left}
    return replace(content, sections=sections, tokens=tokens)


def _later(
    theirs: Mapping[str, dict[str, object]], ours: Mapping[str, dict[str, object]]
) -> dict[str, dict[str, object]]:
    joined = dict(theirs)
    for key, entry in ours.items():
        if key not in joined or _modified(entry) > _modified(joined[key]):
            joined[key] = entry
    return joined


def _modified(entry: Mapping[str, object]) -> int:
    return int(str(entry.get(_MODIFIED) or 0))
