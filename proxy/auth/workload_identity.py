"""Sign in as the app itself, with an assertion of a platform that it trusts: Kubernetes, GitHub Actions.

Source: Microsoft, "Workload identity federation". The assertion is fetched for each acquisition: Kubernetes
replaces the file every hour, GitHub's lives for minutes.
"""

from __future__ import annotations

from functools import partial

from ..config import ServerConfig
from ..errors import AuthenticationFailed
from .app import app_authenticator
from .proofs import Foreign
from .seams import Authenticator, Seams
from .small_files import read_line

FILE_HINT = (
    'In Kubernetes the pod needs the label azure.workload.identity/use: "true" and a service account with '
    "the annotation azure.workload.identity/client-id; elsewhere name the file that the platform writes."
)


def workload_identity(config: ServerConfig, seams: Seams) -> Authenticator:
    """Tokens of the app; ConfigError names what is missing."""
    return app_authenticator(config, seams, "workload-identity", partial(_assertion, config))


def _assertion(config: ServerConfig) -> Foreign:
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
