from __future__ import annotations

import pytest
from pydantic import ValidationError

from proxy.config import Config, ServerConfig
from proxy.config.settings import SETTINGS

SECRETS = {"client_secret", "client_certificate_password", "github_token", "key", "token", "token_cache_key"}


def test_every_setting_is_described_in_a_sentence() -> None:
    assert [key for key, setting in SETTINGS.items() if not setting.description.endswith(".")] == []


def test_every_setting_shows_what_its_value_is() -> None:
    bare = [
        key
        for key, setting in SETTINGS.items()
        if not (setting.shown.metavar or setting.choices or setting.is_switch or setting.is_secret)
    ]

    assert bare == []


NAMES = [
    ("token_file", "--token-file", "FHIR_AUTH_PROXY_TOKEN_FILE"),
    ("aliases", "--alias", "FHIR_AUTH_PROXY_ALIASES"),
    ("allowed_hosts", "--allowed-host", "FHIR_AUTH_PROXY_ALLOWED_HOSTS"),
    ("export_storage", "--export-storage", "FHIR_AUTH_PROXY_EXPORT_STORAGE"),
    ("client_secret", "", "FHIR_AUTH_PROXY_CLIENT_SECRET"),
    ("base_url", "BASE_URL", "FHIR_AUTH_PROXY_BASE_URL"),
    ("log_level", "--log-level", "FHIR_AUTH_PROXY_LOG_LEVEL"),
]


@pytest.mark.parametrize(("key", "flag", "variable"), NAMES)
def test_names_follow_one_rule(key: str, flag: str, variable: str) -> None:
    assert (flag, variable) == (SETTINGS[key].flag, SETTINGS[key].variable)


def test_password_is_not_in_the_text_of_a_model() -> None:
    server = ServerConfig(
        base_url="https://h", token_cache="rediss://:word@cache", token_cache_key="seal-key"
    )

    assert "word@" not in repr(server)
    assert "seal-key" not in repr(server)


def test_kinds_come_from_the_models() -> None:
    assert SECRETS == {key for key, setting in SETTINGS.items() if setting.is_secret}
    assert {"aliases", "allow", "allow_origins", "allowed_hosts", "command", "export_storage"} == {
        key for key, setting in SETTINGS.items() if setting.is_list
    }
    assert {"allow_remote", "require_organizational_account", "send_certificate_chain"} == {
        key for key, setting in SETTINGS.items() if setting.is_switch
    }
    assert {"base_url"} == {key for key, setting in SETTINGS.items() if setting.is_required}
    assert {"admin_listen", "drain_timeout", "log_level", "log_format", "traces", "workers"} == {
        key for key, setting in SETTINGS.items() if not setting.per_server
    }


def test_configuration_does_not_change() -> None:
    server = ServerConfig(base_url="https://h")

    with pytest.raises(ValidationError, match="frozen"):
        server.tenant = "other.example"


def test_wrong_configuration_does_not_print_its_values() -> None:
    with pytest.raises(ValidationError) as raised:
        ServerConfig(base_url="https://h", token=["not-for-eyes"])

    assert "not-for-eyes" not in str(raised.value)


def test_configuration_has_a_server() -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        Config(server=[])
