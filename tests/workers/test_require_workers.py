from __future__ import annotations

import socket
import sys

import pytest

from proxy.config import Config
from proxy.errors import ConfigError
from proxy.workers import require_workers


def config(listen: str = "localhost:0") -> Config:
    return Config.of({"server": [{"base_url": "https://a.example", "listen": listen}], "workers": 2})


def test_system_without_the_option_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_REUSEPORT", raising=False)
    with pytest.raises(ConfigError, match="workers = 2 cannot be: this system has no SO_REUSEPORT"):
        require_workers(config())


def test_system_whose_option_does_not_balance_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "SO_REUSEPORT", 15, raising=False)
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ConfigError, match="does not spread connections"):
        require_workers(config())


@pytest.mark.skipif(sys.platform != "linux", reason="others are refused for another reason")
def test_unix_socket_is_told_and_a_port_is_fine() -> None:
    require_workers(config())
    with pytest.raises(ConfigError, match="is a unix socket, which one process has"):
        require_workers(config("unix:/run/fhir/proxy.sock"))
