"""What may be sent again, and when: the answers by which a server asks for patience.

Those are 429 and 503 that say how long to wait. What is sent again is only what FHIR makes safe to send twice;
how much is sent at all follows from a server's answers, kept in one `Pace` for all its clients.
"""

from __future__ import annotations

import math
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from ..model import Classified, Interaction, RequestHead, ResponseHead
from .interactions import is_read

PATIENCE_STATUSES: Final = frozenset({429, 503})
"""RFC 6585 section 4 and RFC 9110 section 15.6.4."""

EXTRA_SHARE: Final = 0.1
"""Requests that may be sent again for each one that is sent: a throttling server gets at most 10 % more."""

RESERVE: Final = 10.0
"""Requests that may be sent again before that share has added up; never more are saved."""

SHORTEST_PAUSE: Final = 0.1
"""Seconds; a server that asks for none at all is not asked again in a tight loop."""

SPREAD: Final = 0.25
"""Part of a pause, at most, that each request waits longer, so that not all come back at one moment."""

UNLIMITED: Final = 256.0
"""Requests under way from which a limit holds nothing back any more: the connections to one server."""


def asked_pause(head: ResponseHead, now: float) -> float | None:
    """Seconds that the server asks to wait, None where it asks for nothing; `now` is in Unix seconds.

    `x-ms-retry-after-ms` is Microsoft's, in milliseconds, and finer than the `Retry-After` beside it, which
    holds seconds or a date (RFC 9110 section 10.2.3).
    """
    if head.status not in PATIENCE_STATUSES:
        return None
    milliseconds = _number(head.fields.get(b"x-ms-retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = head.fields.get(b"retry-after")
    seconds = _number(value)
    if seconds is not None or value is None:
        return seconds
    try:
        when = parsedate_to_datetime(value.decode("latin-1"))
        return max(0.0, when.replace(tzinfo=when.tzinfo or UTC).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _number(value: bytes | None) -> float | None:
    text = value.strip() if value is not None else b""
    return float(text) if text.isdigit() and len(text) < 16 else None


def is_repeatable(head: RequestHead, classified: Classified, path: bytes) -> bool:
    """Whether sending a request twice does no more than sending it once (FHIR R4 section 3.1.0).

    `path` is relative to the base URL. A plain create, a transaction, a patch, a conditional update or delete
    and whatever starts a job are not.
    """
    if _starts_job(head):
        return False
    names_instance = path.strip(b"/").count(b"/") == 1
    match classified.interaction:
        case Interaction.UPDATE | Interaction.DELETE:
            return names_instance
        case Interaction.CREATE:
            return b"if-none-exist" in head.fields
        case Interaction.OPERATION:
            return head.method != "POST" and is_read(classified, head.method)
        case Interaction.SEARCH_TYPE | Interaction.SEARCH_SYSTEM | Interaction.SEARCH_COMPARTMENT:
            return True
    return head.method in {"GET", "HEAD"}


def _starts_job(head: RequestHead) -> bool:
    return "respond-async" in head.fields.text(b"prefer").lower()


class Pace:
    """How fast one server takes requests, as its answers tell; the time is told to it, in Unix seconds.

    A server that asks for patience gets none of its clients' requests until the pause is over, then half as
    many at a time as were under way, and one more for each round that it answers (additive increase,
    multiplicative decrease; RFC 5681 section 3.1). A limit that holds nothing back any more is dropped.
    """

    def __init__(self) -> None:
        self._pause = 0.0
        self._until = 0.0
        self._limit = math.inf
        self._limited_at = -math.inf
        self._under_way = 0
        self._saved = RESERVE

    def pause(self, now: float) -> float:
        """Seconds until the server takes requests again, 0 where it does now.

        Never more than it asked for, even where the clock was set back meanwhile.
        """
        return max(0.0, min(self._until - now, self._pause)) if now < self._until else 0.0

    @property
    def limit(self) -> float:
        """Requests that may be under way at a time; infinite while the server asks for no patience."""
        return max(1.0, self._limit)

    @property
    def has_room(self) -> bool:
        """Whether one more request may be under way; one always may."""
        return not self._under_way or self._under_way + 1 <= self._limit

    def begin(self) -> None:
        """One more request is under way."""
        self._under_way += 1
        self._saved = min(RESERVE, self._saved + EXTRA_SHARE)

    def end(self) -> None:
        """A request is no longer under way: its answer's head has come, or it has failed."""
        self._under_way -= 1

    def accepted(self) -> None:
        """The server has answered without asking for patience."""
        self._limit += 1 / self._limit
        if self._limit >= UNLIMITED:
            self._limit = math.inf

    def throttled(self, pause: float, begun: float, now: float) -> None:
        """The server asks for `pause` seconds in its answer to a request sent at `begun`, still under way."""
        pause = max(pause, SHORTEST_PAUSE)
        if now + pause > self._until or self._until - now > self._pause:
            self._until = now + pause
            self._pause = pause
        # All that were under way together are refused together: they halve the limit once.
        if begun > self._limited_at:
            self._limit = max(1.0, min(self._limit, self._under_way) / 2)
            self._limited_at = now

    def take_repetition(self) -> bool:
        """Whether one more request may be sent again; it is counted."""
        if self._saved < 1:
            return False
        self._saved -= 1
        return True
