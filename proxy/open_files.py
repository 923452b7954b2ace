"""How many connections the system lets the process have: each is an open file, and so is each to a server."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Callable

from .config import Config
from .upstream import MAX_CONNECTIONS

logger = logging.getLogger(__name__)

RESERVE = 64
"""Files beside connections: listeners, the event loop, logs, key and token files, sign-ins, the admin listener."""

RaiseLimit = Callable[[int], float]
"""Have so many files allowed, as far as the system agrees; how many are allowed then."""

if sys.platform == "win32":

    def raise_limit(wanted: int) -> float:  # noqa: ARG001  (Windows has no such limit for sockets)
        """Have so many files allowed; how many are allowed then."""
        return math.inf

else:
    import resource
    from contextlib import suppress

    def raise_limit(wanted: int) -> float:
        """Have so many files allowed, by the soft limit of the process up to its hard one (setrlimit(2))."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft not in {resource.RLIM_INFINITY, -1} and soft < wanted:
            target = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
            with suppress(OSError, ValueError):  # macOS has a limit of its own below the hard one.
                resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
            soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return math.inf if soft == resource.RLIM_INFINITY else soft


def within_limits(config: Config, allow: RaiseLimit = raise_limit) -> Config:
    """The configuration with no more tools' connections than there can be; a warning tells what was lowered."""
    wanted = RESERVE + sum(_files(server.max_connections) for server in config.servers)
    allowed = allow(wanted)
    if allowed >= wanted:
        return config
    most = _connections((int(allowed) - RESERVE) // len(config.servers))
    logger.warning(
        "max_connections is %d for each server: the system lets this process open %d files, and %d are needed "
        "(ulimit -n, or LimitNOFILE of systemd).",
        most,
        allowed,
        wanted,
    )
    servers = tuple(
        server.replace(max_connections=min(server.max_connections, most)) for server in config.servers
    )
    return config.replace(servers=servers)


def _files(connections: int) -> int:
    """Files of a server's tools and of its exchanges: no tool has two at a time, and the pool has a bound."""
    return connections + min(connections, MAX_CONNECTIONS)


def _connections(files: int) -> int:
    """The most connections of tools whose files are no more than that; one at least."""
    return max(1, files - MAX_CONNECTIONS, files // 2 if files < 2 * MAX_CONNECTIONS else 0)
