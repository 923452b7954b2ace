"""One proxy in several processes of a machine: a supervisor and its workers.

The supervisor has the settings, every sign-in, the admin listener and the signals; it holds each port and accepts
nothing. Workers accept and carry the exchanges. They are joined by a pair of sockets that no other process has:
what passes there is never on a command line, in an environment or in a file.

`channel` carries questions and answers, `wire` puts values into them. `supervisor` keeps the workers running, with
`hiring` to start one and answer it, and `holding` for the ports. In a worker `work` serves, `remote` asks for
credentials and reports what was done.

Each worker has a socket of its own for each port, by SO_REUSEPORT, and Linux deals connections out among them
evenly. With one socket for all, whoever wakes first takes every connection that waits: of 32 that a tool's pool
opened at once, one worker of two had all 32 in most tries, and would have kept them.
"""

from __future__ import annotations

from .supervisor import Workers, require_workers
from .work import work

__all__ = ["Workers", "require_workers", "work"]
