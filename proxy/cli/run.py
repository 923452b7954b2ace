"""`run`: the proxy itself. stdout carries the local base URLs and nothing else."""

from __future__ import annotations

import asyncio
import gc
import sys

from ..config import Config
from ..serving import serve
from .logs import set_up_logging
from .options import read_settings, settings_command
from .terminal import announce, has_terminal, terminal_seams

if sys.platform == "win32":
    from asyncio import new_event_loop
else:
    from uvloop import new_event_loop  # libuv's loop: less CPU for each request

NEW_OBJECTS = 10_000
"""Objects between two searches for garbage that is held by cycles: some MB at most, and every exchange frees most
of its own at once."""


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
    # What is loaded by now stays: searching it for garbage again and again took an eighth of all CPU time.
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(
            serve(
                config,
                announce=announce,
                seams=terminal_seams(),
                reread=reread,
                # To the programs of a terminal a hangup says that it was closed, and nobody could stop them later.
                hangup_reloads=not has_terminal(),
            )
        )
