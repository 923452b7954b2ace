"""Sign in as the app itself, with an assertion of a platform that it trusts: Kubernetes, GitHub Actions.

Source: Microsoft, "Workload identity federation". The assertion is fetched for each acquisition: Kubernetes
replaces the file every hour, GitHub's lives for minutes.
"""

from __future__ import annotations

from functools import partial

from ..config import ServerConfig
from ..config.checks import NEEDS
from ..errors import AuthenticationFailed
from ..model import Rejection
from ..rules.rejections import refused_after_sign_in
from .cache import AccessToken, CachedAuthenticator
from .entra import Entra
from .proofs import Foreign
from .registration import Permission, authority_when_needed, registration, require
from .seams import Authenticator, Seams
from .small_files import read_line
from .threads import in_thread

FILE_HINT = (
    'In Kubernetes the pod needs the label azure.workload.identity/use: "true" and a service account with '
    "the annotation azure.workload.identity/client-id; elsewhere name the file that the platform writes."
)


def workload_identity(config: ServerConfig, seams: Seams) -> Authenticator:
    """Tokens of the app; ConfigError names what is missing."""
    require(config, NEEDS["workload-identity"])
    entra = Entra(
        authority_when_needed(config, seams.probe),
        registration(config, Permission.APP),
        seams.clock,
    )
    explain = partial(refused_after_sign_in, config)
    return CachedAuthenticator(WorkloadIdentitySource(config, entra), seams.clock, explain)


class WorkloadIdentitySource:
    """A TokenSource with a fresh assertion each time."""

    def __init__(self, config: ServerConfig, entra: Entra) -> None:
        self._config = config
        self._entra = entra

    async def acquire(self, *, rejected: Rejection | None) -> AccessToken:  # noqa: ARG002  all are new
        """A new token of the app."""
        return await self._entra.app_token(await in_thread(self._assertion))

    async def close(self) -> None:
        """Close the connections to Entra ID."""
        self._entra.close()

    def _assertion(self) -> Foreign:
        config = self._config
        if not config.federated_token_file:
            from .github import id_token  # noqa: PLC0415  requests take 0.1 s, and not every way needs them

            return Foreign(id_token(config))
        text = read_line("federated_token_file", config.federated_token_file, hint=FILE_HINT)
        if text.count(".") != 2 or not text.isascii() or any(character.isspace() for character in text):
            raise AuthenticationFailed(
                f"federated_token_file = {config.federated_token_file!r} does not hold one signed token (a JWT)",
                hint=FILE_HINT,
            )
        return Foreign(text)
