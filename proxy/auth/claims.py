"""Continuous access evaluation: what a server wants a new token to have, passed on to Entra ID, not too often."""

from __future__ import annotations

from collections import deque

from ..config import ServerConfig
from ..errors import AuthenticationFailed
from ..model import Rejection
from ..rules.challenges import stated_error, wanted_claims
from .clock import Clock

MOST = 5
PERIOD = 300.0
"""Seconds in which MOST challenges are passed on: each is a request past every cache, and Entra ID takes more
for a loop (AADSTS50196)."""


class ClaimsChallenges:
    """The claims challenges of one server, counted."""

    def __init__(self, config: ServerConfig, clock: Clock) -> None:
        self._base_url = str(config.base_url)
        self._clock = clock
        self._answered: deque[float] = deque(maxlen=MOST)

    def wanted(self, rejected: Rejection | None) -> str | None:
        """The claims that a refusal asks for, as a JSON object; None where it asks for none.

        AuthenticationFailed where a server asks again and again.
        """
        claims = wanted_claims(rejected.challenges) if rejected is not None else ""
        if rejected is None or not claims:
            return None
        now = self._clock.time()
        if len(self._answered) == MOST and 0 <= now - self._answered[0] < PERIOD:
            said = stated_error(rejected.challenges)
            raise AuthenticationFailed(
                f"{self._base_url} asks for other claims in the token again and again: {said}",
                hint="What Entra ID puts into the token does not satisfy the server: its administrator has to "
                "look at the Conditional Access policies that apply to it.",
            )
        self._answered.append(now)
        return claims
