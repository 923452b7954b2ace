"""The settings of a process, and all settings by their keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from .kinds import Kind, many, one_of
from .models import MISSING, Field, Model, field
from .server_settings import ServerConfig, Shown
from .values import ADMIN_LISTEN, SECONDS, WORKERS, ListenAddress

ENVIRONMENT_PREFIX = "FHIR_AUTH_PROXY_"


def _servers(value: object) -> tuple[ServerConfig, ...]:
    found = many(Kind(ServerConfig.read, {})).read(value)
    if not found:
        raise ValueError("names no server")
    return found


class Config(Model):
    """All settings: those of the process, and one ServerConfig a server."""

    servers: tuple[ServerConfig, ...] = field(
        Kind(_servers, {}, lambda servers: [server.model_dump() for server in servers]),
        alias="server",
        description="One table a server; a key at the top holds for all of them.",
    )
    admin_listen: ListenAddress | None = field(
        ADMIN_LISTEN,
        Shown("Process", "HOST:PORT"),
        "localhost:8079",
        "Address of health, metrics and status; off for none. Others may read the probes alone.",
    )
    drain_timeout: float = field(
        SECONDS, Shown("Process", "SECONDS"), 30.0, "Seconds that running exchanges get when the proxy stops."
    )
    workers: int = field(
        WORKERS, Shown("Process", "NUMBER"), 1, "Processes that serve; more than one on Linux alone."
    )
    log_level: Literal["error", "warning", "info", "debug"] = field(
        one_of("error", "warning", "info", "debug"), Shown("Process"), "info", "What is logged."
    )
    log_format: Literal["text", "json"] = field(
        one_of("text", "json"), Shown("Process"), "text", "How log lines look."
    )
    traces: Literal["off", "otlp"] = field(
        one_of("off", "otlp"),
        Shown("Process"),
        "off",
        "Traces for OpenTelemetry, sent where its own variables say; needs the extra otel.",
    )


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting under all its names."""

    key: str
    shown: Shown
    description: str
    default: object
    """As one would write it; None where there is none."""
    choices: tuple[str, ...]
    per_server: bool
    is_required: bool
    is_secret: bool
    is_list: bool
    is_switch: bool

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return ENVIRONMENT_PREFIX + self.key.upper()

    @property
    def flag(self) -> str:
        """Its flag; empty for a secret, which a list of processes would show."""
        if self.is_secret:
            return ""
        if self.is_required:
            return self.shown.metavar
        return "--" + (self.shown.singular or self.key).replace("_", "-")

    @classmethod
    def of(cls, key: str, found: Field[object], *, per_server: bool) -> Setting:
        """The setting that a model's field stands for."""
        if not isinstance(found.mark, Shown):
            raise TypeError(f"{key} does not say how it is shown")
        kind, is_required = found.kind, found.default is MISSING
        return cls(
            key,
            found.mark,
            found.description,
            None if is_required else found.default,
            choices=kind.choices,
            per_server=per_server,
            is_required=is_required,
            is_secret=kind.is_secret,
            is_list=kind.is_list,
            is_switch=kind.is_switch,
        )


def _all_settings() -> Iterator[Setting]:
    for key, found in ServerConfig.fields.items():
        yield Setting.of(key, found, per_server=True)
    for key, found in Config.fields.items():
        if key != "servers":
            yield Setting.of(key, found, per_server=False)


SETTINGS = MappingProxyType({setting.key: setting for setting in _all_settings()})
"""Every setting by its key: those of a server first, then those of the process."""
