"""Text -> Config, or ConfigError that names every key that is wrong.

One field here is one setting everywhere: the flag `--token-file`, the environment variable
`FHIR_AUTH_PROXY_TOKEN_FILE`, the key `token_file` of the TOML file, its row in the README's table and in the JSON
Schema. This module reads no file and no environment: it is handed what was found there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, SecretStr, WithJsonSchema

from .model import BaseUrl, is_loopback

AuthMethod = Literal["auto", "anonymous", "interactive", "device-code", "client-secret", "token"]


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where a listener accepts: host (a name or an address without brackets) and port; port 0 takes a free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> ListenAddress:
        """Read `host:port`, `[v6]:port`, or a port alone, which means localhost."""
        host, separator, port_text = text.rpartition(":")
        if not separator:
            host = "localhost"
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise ValueError("is an IPv6 address without brackets; write [::1]:8080")
        if not host:
            raise ValueError("names no host; write localhost:8080")
        if not (port_text.isascii() and port_text.isdigit() and int(port_text) <= 65535):
            raise ValueError("has a port that is not a number from 0 to 65535")
        return cls(host.lower(), int(port_text))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the listener."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _base_url(value: object) -> object:
    return BaseUrl.parse(value) if isinstance(value, str) else value


def _listen(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return ListenAddress.parse(value) if isinstance(value, str) else value


UrlSetting = Annotated[
    BaseUrl,
    BeforeValidator(_base_url),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "format": "uri"}),
]
ListenSetting = Annotated[
    ListenAddress,
    BeforeValidator(_listen),
    PlainSerializer(str),
    WithJsonSchema({"type": ["string", "integer"], "examples": ["localhost:8080", "127.0.0.1:0", 8081]}),
]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class ServerConfig(BaseModel):
    """The settings of one upstream server and its listener."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: UrlSetting = Field(description="Base URL of the FHIR server.")
    listen: ListenSetting = Field(
        default="localhost:8080",
        validate_default=True,
        description="Address of the local listener; port 0 takes a free one.",
    )
    allow_remote: bool = Field(
        default=False,
        description="Let the listener have an address that other machines can reach. Whoever reaches it acts as you.",
    )
    allowed_hosts: tuple[str, ...] = Field(
        default=(),
        description="More names by which tools may call the listener, such as a container's service name.",
    )
    auth: AuthMethod = Field(default="auto", description="How to sign in.")
    tenant: str = Field(default="", description="Entra tenant, as GUID or domain name.")
    client_id: str = Field(
        default="", description="Application (client) id of the app registration to sign in with."
    )
    client_secret: SecretStr | None = Field(default=None, description="The app registration's secret value.")
    client_secret_file: str = Field(default="", description="File that holds the client secret.")
    authority: UrlSetting | None = Field(
        default=None,
        description="Authority URL outside Microsoft's clouds (a sandbox, a private cloud), with the tenant as its path.",
    )
    authority_host: str = Field(
        default="",
        description="Microsoft's sign-in host of your cloud; by default the one of the server's own cloud.",
    )
    audience: str = Field(default="", description="Audience of the token where it is not the base URL.")
    token: SecretStr | None = Field(default=None, description="Bearer token for the method `token`.")
    token_file: str = Field(
        default="", description="File with a bearer token, read again whenever it changes."
    )
    redirect_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="Fixed port of the sign-in's redirect; 0 takes a free one.",
    )
    sign_in_timeout: Seconds = Field(
        default=300.0, description="Seconds that a person has to complete a sign-in."
    )
    ca_bundle: str = Field(
        default="", description="PEM file of further authorities to trust, for the server and for Entra."
    )
    aliases: tuple[UrlSetting, ...] = Field(
        default=(),
        description="Other base URLs that the server uses for itself in what it sends.",
    )
    rewrite: Literal["on", "off"] = Field(
        default="on", description="Make the server's URLs local ones in what it sends."
    )
    advertise_auth: Literal["hide", "pass"] = Field(
        default="hide",
        description="Whether tools see in /metadata that the server wants OAuth.",
    )
    connect_timeout: Seconds = Field(
        default=10.0, description="Seconds to connect to the server, TLS included."
    )
    read_timeout: Seconds = Field(
        default=120.0,
        description="Seconds of silence from the server after which an exchange is given up.",
    )


class Config(BaseModel):
    """All settings: those of the process, and one ServerConfig a server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    servers: tuple[ServerConfig, ...] = Field(min_length=1, alias="server", description="The servers.")
    drain_timeout: Seconds = Field(
        default=30.0, description="Seconds that running exchanges get when the proxy stops."
    )
    log_level: Literal["error", "warning", "info", "debug"] = Field(
        default="info", description="What is logged."
    )
    log_format: Literal["text", "json"] = Field(default="text", description="How log lines look.")
