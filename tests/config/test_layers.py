from __future__ import annotations

from pathlib import PurePosixPath

from proxy.config.layers import environment_layers, file_layer, flag_layer


def test_layers_do_not_print_their_values() -> None:
    layers = [
        file_layer(
            {"token": "not-for-eyes", "server": [{"token": "not-for-eyes"}]}, "c.toml", PurePosixPath()
        ),
        *environment_layers({"AZURE_CLIENT_SECRET": "not-for-eyes", "FHIR_AUTH_PROXY_TOKEN": "not-for-eyes"}),
        flag_layer({"token_file": "not-for-eyes"}),
    ]

    assert "not-for-eyes" not in repr(layers)


def test_source_names_file_and_server() -> None:
    layer = file_layer({"auth": "token", "server": [{}, {"auth": "auto"}]}, "c.toml", PurePosixPath())

    assert layer.shared["auth"].source == "file c.toml"
    assert layer.servers[1]["auth"].source == "file c.toml, server 2"


def test_source_names_flag_or_argument() -> None:
    layer = flag_layer({"base_url": "https://h", "allowed_hosts": ("a",), "allow_remote": False})

    assert {"argument BASE_URL", "flag --allowed-host", "flag --allow-remote"} == {
        found.source for found in layer.shared.values()
    }
