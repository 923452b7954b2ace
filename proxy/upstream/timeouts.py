"""How long the upstream leg waits for what, in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits by phase. None of them bounds a whole exchange: an export may stream for hours."""

    connect: float = 10.0
    """To be connected: name lookup, TCP, tunnel and TLS together; also the wait for a free connection."""
    read: float = 120.0
    """Silence of the server: no byte of its answer, and no byte taken of the request. The time of a head, too."""
    idle: float = 50.0
    """Age at which an idle connection is closed: less than the 60 s and more of common gateways."""
    life: float = 300.0
    """Age at which a connection is not used again: a name that has moved to another address is followed, though
    the old one still answers. .NET knows it as PooledConnectionLifetime."""
    fresh: float = 2.0
    """Idle time after which a connection is not trusted with a POST or PATCH any more.

    A server closes idle connections at its own time, and a request that crosses with that cannot be sent
    again unless it is idempotent: on a connection in use a moment ago this practically does not happen.
    """
    expect: float = 1.0
    """Wait for a 100 (Continue) before the body goes out without it (RFC 9110 section 10.1.1); curl's
    value."""
