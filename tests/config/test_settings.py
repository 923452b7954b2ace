from __future__ import annotations

import pytest

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
    server = ServerConfig.of(
        {"base_url": "https://h", "token_cache": "rediss://:word@cache", "token_cache_key": "seal-key"}
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
    server = ServerConfig.of({"base_url": "https://h"})

    with pytest.raises(AttributeError, match="immutable"):
        server.tenant = "other.example"


def test_wrong_configuration_does_not_print_its_values() -> None:
    with pytest.raises(ValueError, match=r"^token is not text$"):
        ServerConfig.of({"base_url": "https://h", "token": ["not-for-eyes"]})


def test_configuration_has_a_server() -> None:
    with pytest.raises(ValueError, match="at least one table"):
        Config.of({"server": []})


def test_unknown_key_is_named() -> None:
    with pytest.raises(ValueError, match=r"^tokn is not a setting$"):
        ServerConfig.of({"base_url": "https://h", "tokn": "not-for-eyes"})


def test_nothing_is_the_default() -> None:
    server = ServerConfig.of({"base_url": "https://h", "authority": None, "token": None, "retry_wait": None})

    assert ServerConfig.of({"base_url": "https://h"}) == server


def test_admin_listener_of_the_settings_is_wanted() -> None:
    wanted = [
        Config.of({"server": [{"base_url": "https://h"}], **process}).wants_admin_listener
        for process in ({}, {"admin_listen": "localhost:8079"}, {"admin_listen": "off"})
    ]

    assert [False, True, False] == wanted


def test_plain_values_are_read_as_they_were() -> None:
    config = Config.of(
        {
            "server": [{"base_url": "https://h", "aliases": ["https://i/r4"], "listen": "unix:/run/x.sock"}],
            "admin_listen": "off",
            "drain_timeout": 3,
        }
    )
    plain = config.plain()
    again = Config.of({**{key: plain[key] for key in plain if key != "servers"}, "server": plain["servers"]})

    assert config == again


def test_plain_values_hold_no_secret() -> None:
    server = ServerConfig.of({"base_url": "https://h", **dict.fromkeys(SECRETS, "not-for-eyes")})

    assert {"********"} == {server.plain()[key] for key in SECRETS}
    assert "not-for-eyes" not in repr(server)
