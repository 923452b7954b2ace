"""What is known so far: an immutable state, which each step hands on with what it found out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from ..auth import Authenticator, Seams
from ..config import ServerConfig
from ..model import Challenge, Credentials
from ..rules.tokens import Claims
from .asking import Reply
from .verdicts import Verdict


@dataclass(frozen=True, slots=True)
class State:
    """The settings, and what the steps behind us have learned."""

    config: ServerConfig
    seams: Seams
    replies: tuple[Reply, ...] = field(default=(), repr=False)
    """The server's answers, for what they say of its clock."""
    software: str = ""
    """What the server calls itself; empty where it does not say."""
    unsigned: Reply | None = field(default=None, repr=False)
    """The answer to a read without credentials; None while there is none."""
    challenges: tuple[Challenge, ...] = ()
    authenticator: Authenticator | None = None
    """Holds connections and has to be closed."""
    credentials: Credentials | None = None
    claims: Claims = field(default_factory=dict)
    """What the token says of itself; nothing where it is opaque, or there is none."""


Step = Callable[[State], Awaitable[tuple[State, Verdict]]]
"""Looks at one thing. A ProxyError that it raises is a failure, and leaves the state as it was."""
