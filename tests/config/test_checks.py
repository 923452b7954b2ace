from __future__ import annotations

from proxy.config.checks import ALTERNATIVES, CHECKS
from proxy.config.settings import SETTINGS, ServerConfig


def test_checks_and_alternatives_name_settings_of_a_server() -> None:
    named = {key for check in CHECKS for key in check.keys} | {key for pair in ALTERNATIVES for key in pair}

    assert named <= {key for key, setting in SETTINGS.items() if setting.per_server}


def test_plain_server_passes_every_check() -> None:
    server = ServerConfig.of({"base_url": "https://fhir.example.org/r4"})

    assert [None] * len(CHECKS) == [check.find(server) for check in CHECKS]
