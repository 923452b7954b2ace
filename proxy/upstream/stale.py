"""A connection that the server had closed before it saw a request."""

from __future__ import annotations

from ..errors import UpstreamUnreachable


class StaleConnectionError(UpstreamUnreachable):
    """A reused connection ended before a byte of the answer and before the request's body was touched."""
