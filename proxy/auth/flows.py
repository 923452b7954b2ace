"""Sign-ins that have begun and wait for a person."""

from __future__ import annotations

from dataclasses import dataclass, field


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
