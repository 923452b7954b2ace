"""The method `anonymous`: a server that asks for no sign-in."""

from __future__ import annotations

from ..config import ServerConfig
from ..model import Credentials, Rejection
from .seams import Authenticator, Seams


class AnonymousAuthenticator:
    """Never any credentials; what the tool sends itself goes through."""

    async def credentials(self, rejected: Rejection | None = None) -> Credentials | None:  # noqa: ARG002
        """None, always."""
        return None

    async def close(self) -> None:
        """Nothing is under way, ever."""


def anonymous(_config: ServerConfig, _seams: Seams) -> Authenticator:
    """No credentials."""
    return AnonymousAuthenticator()
