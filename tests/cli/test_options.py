from __future__ import annotations

import pytest
from click.testing import CliRunner

from proxy.cli.options import settings_command
from proxy.config.settings import SETTINGS


@settings_command("Stand in for a command.", "stand https://fhir.example.org", name="stand")
def stand(base_url: str | None, config_file: str | None, **flags: object) -> None:
    raise AssertionError(base_url, config_file, flags)


def shown_help() -> str:
    return CliRunner().invoke(stand, ["--help"], terminal_width=200).stdout


def test_every_setting_but_secrets_has_a_flag() -> None:
    flags = {option for parameter in stand.params for option in parameter.opts}

    assert flags >= {setting.flag for setting in SETTINGS.values() if setting.flag.startswith("--")}
    assert flags.isdisjoint({"--token", "--client-secret"})


def test_help_shows_examples_before_flags_in_groups() -> None:
    titles = [line for line in shown_help().splitlines() if line.endswith(":") and not line.startswith(" ")]

    assert titles == ["Examples:", "General:", "Listener:", "Sign-in:", "Server:", "Process:"]


def test_help_fits_in_two_screens() -> None:
    text = CliRunner().invoke(stand, ["--help"], terminal_width=100).stdout

    assert len(text.splitlines()) <= 80


HELP = [
    "--listen HOST:PORT Address of the local listener; port 0 takes a free one. [localhost:8080]",
    "--allow-remote Let other machines reach the listener. Whoever reaches it acts as you.",
    "--alias URL Other base URLs that the server uses for itself in what it sends. Repeatable.",
    "--log-format text|json How log lines look. [text]",
]


@pytest.mark.parametrize("expected", HELP)
def test_help_of_a_flag_is_one_line(expected: str) -> None:
    assert expected in [" ".join(line.split()) for line in shown_help().splitlines()]


def test_help_names_where_secrets_go() -> None:
    told = " ".join(shown_help().split())

    assert "FHIR_AUTH_PROXY_CLIENT_SECRET, FHIR_AUTH_PROXY_CLIENT_CERTIFICATE_PASSWORD," in told
    assert told.endswith(", FHIR_AUTH_PROXY_TOKEN.")


GIVEN = [
    (["https://h"], {"base_url": "https://h"}),
    (["--alias", "a", "--alias", "b"], {"aliases": ("a", "b")}),
    (["--allow-remote"], {"allow_remote": True}),
    (["--no-allow-remote"], {"allow_remote": False}),
    (["--listen", "x"], {"listen": "x"}),
    (["--config", "f"], {"config_file": "f"}),
]


@pytest.mark.parametrize(("arguments", "expected"), GIVEN)
def test_command_is_given_what_was_typed(arguments: list[str], expected: dict[str, object]) -> None:
    base_url, config_file, flags = CliRunner().invoke(stand, arguments).exception.args
    given = {"base_url": base_url, "config_file": config_file, **flags}

    assert expected == {key: value for key, value in given.items() if value not in (None, ())}
