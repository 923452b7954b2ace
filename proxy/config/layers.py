"""Where values come from: a configuration file, the environment, the command line.

From the weakest to the strongest: defaults, Azure's own environment variables, the file, the environment
variables of this program, flags. Azure's variables stand below the file since they are set for whole machines
and pods, often by others: a file that names a tenant means it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

from .settings import ENVIRONMENT_PREFIX, SETTINGS, Setting

# A service named fhir-auth-proxy makes Kubernetes set these in every pod of its namespace
# (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
_SERVICE_LINK = re.compile(
    r"SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?"
)
CONFIG_VARIABLE = ENVIRONMENT_PREFIX + "CONFIG"


@dataclass(frozen=True, slots=True)
class Found:
    """A value as it was found, and where; it may be a secret, so it does not print."""

    value: object = field(repr=False)
    source: str


Values = Mapping[str, Found]


@dataclass(frozen=True, slots=True)
class Layer:
    """What one place says: for all servers, and for each in turn. An empty value means the default."""

    shared: Values
    servers: tuple[Values, ...] = ()


def file_layer(document: Mapping[str, object], name: str, folder: PurePath) -> Layer:
    """The values of a TOML document that was read from a file of that name in that folder."""
    tables = document.get("server")
    if isinstance(tables, list) and all(isinstance(table, dict) for table in tables):
        document = {key: value for key, value in document.items() if key != "server"}
    else:
        tables = []
    return Layer(
        _file_values(document, f"file {name}", folder),
        tuple(
            _file_values(table, f"file {name}, server {number}", folder)
            for number, table in enumerate(tables, 1)
        ),
    )


def _file_values(table: Mapping[str, object], source: str, folder: PurePath) -> Values:
    return {key: Found(_beside_file(key, value, folder), source) for key, value in table.items()}


def _beside_file(key: str, value: object, folder: PurePath) -> object:
    setting = SETTINGS.get(key)
    if setting is not None and setting.shown.names_file and isinstance(value, str) and value:
        return str(folder / value)
    return value


def environment_layers(environment: Mapping[str, str]) -> tuple[Layer, Layer]:
    """What Azure's variables say, and what this program's own say; an empty variable says nothing."""
    azure = {
        setting.key: Found(environment[name], f"environment {name}")
        for setting in SETTINGS.values()
        if environment.get(name := setting.shown.ecosystem)
    }
    own = {
        key: Found(_split(SETTINGS.get(key), text), f"environment {name}")
        for name, text in environment.items()
        if text and name.startswith(ENVIRONMENT_PREFIX) and name != CONFIG_VARIABLE
        if not _SERVICE_LINK.fullmatch(suffix := name.removeprefix(ENVIRONMENT_PREFIX))
        for key in [suffix.lower()]
    }
    return Layer(azure), Layer(own)


def _split(setting: Setting | None, text: str) -> object:
    if setting is None or not setting.is_list:
        return text
    return [part.strip() for part in text.split(",") if part.strip()]


def flag_layer(flags: Mapping[str, object]) -> Layer:
    """What the command line says, by key; a value of None, or of no elements, says nothing."""
    return Layer(
        {
            key: Found(value, f"{'argument' if SETTINGS[key].is_required else 'flag'} {SETTINGS[key].flag}")
            for key, value in flags.items()
            if value not in (None, ())
        }
    )
