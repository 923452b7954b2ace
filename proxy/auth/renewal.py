"""When a token is renewed, and until when it is sent: the rule for every way to sign in.

Many proxies that started in one minute would renew in one minute for ever. So each renews a little earlier than it
has to, by chance, and much earlier where all of them may have asked at once. What that is worth for how many proxies
is in docs/sizing.md.
"""

from __future__ import annotations

from dataclasses import dataclass

LEEWAY = 30.0
"""Seconds before its expiry from which a token is not sent any more: it has to arrive alive, and clocks
differ."""

RENEW_AHEAD = 300.0
"""Seconds before its expiry from which a token is renewed; MSAL takes the same number for "expired"."""

MINIMUM_AGE = 60.0
"""Seconds that a token is used at least, since Entra ID may name a moment in the past for its renewal."""

EARLY = 0.1
"""Part of the time until its renewal that a token loses to chance at most."""

EARLY_AFTER_A_WAIT = 0.5
"""The same for a token that requests waited for: at a start, after an outage, or after a refusal, when others may
have waited as well. One renewal takes them apart; the smaller part then keeps them so."""


@dataclass(frozen=True, slots=True)
class Times:
    """Unix seconds."""

    refresh_at: float
    usable_until: float


def times(now: float, expires_at: float, wanted_at: float, chance: float, *, was_awaited: bool) -> Times:
    """The times of a token that is good now.

    `wanted_at` is when the issuer wants it renewed, `chance` a number from 0 to 1, `was_awaited` whether requests
    waited for it.
    """
    life = expires_at - now
    latest = min(wanted_at, expires_at - min(RENEW_AHEAD, life / 2))
    early = chance * (EARLY_AFTER_A_WAIT if was_awaited else EARLY)
    return Times(
        refresh_at=max(latest - early * (latest - now), now + min(MINIMUM_AGE, life / 2)),
        usable_until=expires_at - min(LEEWAY, life / 10),
    )
