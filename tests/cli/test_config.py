from __future__ import annotations

import json
import os
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.cli import options
from proxy.cli.config import command
from proxy.config.documents import json_schema
from proxy.errors import ConfigError

URL = "https://fhir.example.org/r4"


def show(*arguments: str, **environment: str) -> str:
    result = CliRunner(env=environment).invoke(command, ["show", *arguments])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_schema_is_printed() -> None:
    assert json_schema() == json.loads(CliRunner().invoke(command, ["schema"]).stdout)


def test_shown_settings_are_a_configuration_file() -> None:
    document = tomllib.loads(show(URL, "--listen", "[::1]:0", "--alias", "https://a", "--alias", "https://b"))

    (server,) = document["server"]
    assert document["log_level"] == "info"
    assert (server["base_url"], server["listen"]) == (URL, "[::1]:0")
    assert server["aliases"] == ["https://a", "https://b"]


SOURCES = [
    ("base_url", "argument BASE_URL"),
    ("auth", "flag --auth"),
    ("tenant", "environment AZURE_TENANT_ID"),
    ("client_secret", "environment FHIR_AUTH_PROXY_CLIENT_SECRET"),
    ("client_id", "file c.toml"),
    ("listen", "default"),
    ("log_level", "file c.toml"),
    ("log_format", "environment FHIR_AUTH_PROXY_LOG_FORMAT"),
]


@pytest.mark.parametrize(("key", "source"), SOURCES)
def test_shown_setting_tells_where_it_came_from(tmp_path: Path, key: str, source: str) -> None:
    file = tmp_path / "c.toml"
    file.write_text('client_id = "i"\nlog_level = "debug"', "utf-8")
    shown = show(
        URL,
        "--auth",
        "client-secret",
        "--config",
        str(file),
        AZURE_TENANT_ID="t",
        FHIR_AUTH_PROXY_CLIENT_SECRET="s",
        FHIR_AUTH_PROXY_LOG_FORMAT="json",
    )

    assert [source] == [
        line.rpartition("  # ")[2]
        for line in shown.splitlines()
        if line.removeprefix("# ").startswith(f"{key} =")
    ]


def test_secret_is_shown_masked_and_cannot_be_pasted() -> None:
    shown = show(URL, FHIR_AUTH_PROXY_TOKEN="not-for-eyes")

    assert '# token = "********"' in shown
    assert "not-for-eyes" not in shown
    assert "token" not in tomllib.loads(shown)["server"][0]


def test_password_in_the_url_of_the_token_cache_is_masked() -> None:
    key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    shown = show(
        URL,
        FHIR_AUTH_PROXY_TOKEN_CACHE="rediss://ada:not-for-eyes@cache/1",
        FHIR_AUTH_PROXY_TOKEN_CACHE_KEY=key,
    )

    assert 'token_cache = "rediss://********@cache/1"' in shown
    assert "not-for-eyes" not in shown
    assert key not in shown


def test_every_server_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(
        f'[[server]]\nbase_url = "{URL}"\nlisten = 1\n[[server]]\nbase_url = "https://b"', "utf-8"
    )

    servers = tomllib.loads(show(FHIR_AUTH_PROXY_CONFIG=str(file)))["server"]
    assert [server["base_url"] for server in servers] == [URL, "https://b"]


def test_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(b"\xef\xbb\xbf" + f'base_url = "{URL}"\r\n'.encode())

    assert URL in show("--config", str(file))


UNREADABLE = [
    (b'base_url = "x', "is not TOML: "),
    ('base_url = "é"'.encode("utf-16"), "is not UTF-8"),
    (None, "cannot be read: "),
]


@pytest.mark.parametrize(("content", "reason"), UNREADABLE, ids=["toml", "encoding", "missing"])
def test_unreadable_file_is_named(tmp_path: Path, content: bytes | None, reason: str) -> None:
    file = tmp_path / "c.toml"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(ConfigError) as raised:
        show("--config", str(file))
    assert raised.value.message.startswith(f"configuration file {file} {reason}")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
@pytest.mark.parametrize("mode", [0o646, 0o666])
def test_file_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "c.toml"
    file.write_text(f'base_url = "{URL}"', "utf-8")
    file.chmod(mode)

    with pytest.raises(ConfigError, match="can be written by others") as told:
        show("--config", str(file))
    assert told.value.hint == f"chmod go-w {file}"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
@pytest.mark.parametrize("mode", [0o600, 0o400, 0o644])
def test_file_that_others_may_only_read_is_taken(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "c.toml"
    file.write_text(f'base_url = "{URL}"', "utf-8")
    file.chmod(mode)

    assert URL in show("--config", str(file))


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root gives files away")
def test_file_that_a_shared_group_may_write_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(f'base_url = "{URL}"', "utf-8")
    file.chmod(0o664)
    assert URL in show("--config", str(file))  # root's own group is nobody else's

    os.chown(file, -1, 54321)
    with pytest.raises(ConfigError, match="can be written by others"):
        show("--config", str(file))


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root gives files away")
def test_mounted_file_of_the_hosts_user_is_taken_in_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "c.toml"
    file.write_text(f'base_url = "{URL}"', "utf-8")
    os.chown(file, 54321, -1)
    monkeypatch.setattr(options, "is_container", lambda _: True)

    assert URL in show("--config", str(file))


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root gives files away")
def test_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "is_container", lambda _: False)
    file = tmp_path / "c.toml"
    file.write_text(f'base_url = "{URL}"', "utf-8")
    os.chown(file, 12345, -1)

    with pytest.raises(ConfigError, match="belongs to another user"):
        show("--config", str(file))
