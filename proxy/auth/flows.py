"""Sign-ins that have begun and wait for a person."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..config import AuthMethod


@dataclass(frozen=True, slots=True)
class Start:
    """How a sign-in is to begin."""

    method: AuthMethod | None
    """None where the person is still to say."""
    other_account: bool = False
    """Whether the person is to choose who they are, whoever has signed in before."""
    is_called_for: bool = False
    """Whether somebody asked for it who looks at a page already, so that no browser has to be opened."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """What a person has to do to sign in: a sentence without its full stop, and what stands in it."""

    text: str
    address: str = ""
    code: str = ""
    """What is typed at the address; empty where nothing is."""
    expires_at: float | None = None
    """Unix seconds."""
    method: AuthMethod | None = None
    """As it began; None where the person is still to say."""


@dataclass(frozen=True, slots=True)
class CodeFlow:
    """A sign-in in the browser that has begun: where the person goes, and what its answer must carry."""

    url: str = field(repr=False)
    state: str = field(repr=False)
    flow: dict[str, object] = field(repr=False)


@dataclass(frozen=True, slots=True)
class DeviceFlow:
    """A sign-in on another device that has begun: what the person types where, and for how many seconds."""

    verification_uri: str
    user_code: str
    message: str
    expires_in: float
    flow: dict[str, object] = field(repr=False)

    @property
    def interval(self) -> float:
        """Seconds to wait before the next poll; each `slow_down` makes it longer."""
        interval = self.flow["interval"]
        return float(interval) if isinstance(interval, int) else 5.0
