"""The other listener: whether the proxy is alive and ready, what it has done, and a way to stop it.

It has a port of its own, so that nothing of it lies in the FHIR namespace. `watching` sees what a server's
sign-ins come to, its `ledger` the exchanges: `metrics` counts them, `traffic` keeps the last ones. `listener` is open
from the start. What it answers with is loaded when somebody first asks: `application`, for which `page` shows it all
with the shapes of `charts` and the words of `snippets`, `exposition` makes metrics of the counts, and `sign_in` takes
what a person asks for. No answer holds a token.
"""

from __future__ import annotations

from .listener import AdminListener
from .metrics import Metrics
from .watching import ServerWatch

__all__ = ["AdminListener", "Metrics", "ServerWatch"]
