"""`run`: the proxy itself. stdout carries the local base URLs and nothing else."""

from __future__ import annotations

import json
import sys

from ..config import Config
from ..serving import serve
from .event_loop import run
from .logs import set_up_logging
from .options import read_settings, settings_command
from .terminal import announce, has_terminal, terminal_seams

WORKER = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    f"from {__package__}.worker import serve_supervisor; serve_supervisor(int(sys.argv[2]))"
)
"""A process that finds the modules that this one finds, wherever it was started."""


@settings_command(
    "Put a secured FHIR server on localhost: sign in to Entra ID, and forward what FHIR tools ask.",
    "fhir-auth-proxy run https://example.azurehealthcareapis.com",
    "fhir-auth-proxy run https://fhir.example.org/r4 --listen 127.0.0.1:0",
    "fhir-auth-proxy run --config servers.toml",
    name="run",
)
def command(base_url: str | None, config_file: str | None, **flags: object) -> None:
    """Serve until the proxy is stopped."""
    config = read_settings(base_url, config_file, flags).config

    def reread() -> Config:
        return read_settings(base_url, config_file, flags).config

    set_up_logging(config.log_level, config.log_format)
    run(
        serve(
            config,
            announce=announce,
            seams=terminal_seams(),
            reread=reread,
            # To the programs of a terminal a hangup says that it was closed, and nobody could stop them later.
            hangup_reloads=not has_terminal(),
            worker_command=worker_command(),
        )
    )


def worker_command() -> list[str]:
    """The words that start a worker; the number of its end of the channel follows them."""
    return [sys.executable, "-P", "-c", WORKER, json.dumps(sys.path)]
