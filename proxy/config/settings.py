"""The models: every setting is one field, with what its flag, its help and its documents need beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic.fields import FieldInfo

from .values import (
    AdminListenSetting,
    AllowedHost,
    AllowedInteraction,
    AllowedOrigin,
    AuthorityHost,
    Connections,
    HttpsUrl,
    ListenSetting,
    Port,
    Seconds,
    StorageAccount,
    Tenant,
    TenantId,
    TokenCache,
    UrlSetting,
    Workers,
)

AuthMethod = Literal[
    "auto",
    "anonymous",
    "interactive",
    "device-code",
    "client-secret",
    "client-certificate",
    "workload-identity",
    "managed-identity",
    "azure-cli",
    "azd",
    "powershell",
    "token",
    "command",
]
Group = Literal["Listener", "Sign-in", "Server", "Process"]

ENVIRONMENT_PREFIX = "FHIR_AUTH_PROXY_"


@dataclass(frozen=True, slots=True)
class Shown:
    """How a setting appears to people, as metadata of its field."""

    group: Group
    metavar: str = ""
    """What stands for the value in the help; a setting with few choices shows those."""
    singular: str = ""
    """The name of one element, for the flag of a list that is given once an element."""
    ecosystem: str = ""
    """The environment variable by which Azure's own tools know it."""
    names_file: bool = False
    """Whether the value is a path; in a configuration file it is relative to that file's folder."""
    holds_password: bool = False
    """Whether the value may be a URL with a password: what stands before its last @ is never shown."""


class ServerConfig(BaseModel):
    """The settings of one upstream server and its listener."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    base_url: Annotated[UrlSetting, Shown("Server", "BASE_URL")] = Field(
        description="Base URL of the FHIR server."
    )
    listen: Annotated[ListenSetting, Shown("Listener", "HOST:PORT")] = Field(
        default="localhost:8080",
        validate_default=True,
        description="Address of the local listener, or unix:PATH; port 0 takes a free one.",
    )
    allow_remote: Annotated[bool, Shown("Listener")] = Field(
        default=False,
        description="Let other machines reach the listener. Whoever reaches it acts as you.",
    )
    allowed_hosts: Annotated[tuple[AllowedHost, ...], Shown("Listener", "NAME", singular="allowed_host")] = (
        Field(
            default=(),
            description="More names by which tools may call the listener, such as a container's name.",
        )
    )
    allow_origins: Annotated[
        tuple[AllowedOrigin, ...], Shown("Listener", "ORIGIN", singular="allow_origin")
    ] = Field(
        default=(),
        description="Origins whose web pages may use the listener.",
    )
    key: Annotated[SecretStr | None, Shown("Listener")] = Field(
        default=None,
        description="Key that tools have to show, as the field X-Proxy-Key or as the path /k/KEY.",
    )
    key_file: Annotated[str, Shown("Listener", "FILE", names_file=True)] = Field(
        default="", description="File that holds the key."
    )
    max_connections: Annotated[Connections, Shown("Listener", "NUMBER")] = Field(
        default=1024, description="Connections of tools at a time; one more is answered with 503."
    )
    front: Annotated[Literal["fast", "aiohttp"], Shown("Listener")] = Field(
        default="fast",
        description="Who parses plain requests: the proxy itself, for less CPU, or aiohttp as all others.",
    )
    head_timeout: Annotated[Seconds, Shown("Listener", "SECONDS")] = Field(
        default=15.0, description="Seconds in which a tool has to send the head of a request."
    )
    upload_timeout: Annotated[Seconds, Shown("Listener", "SECONDS")] = Field(
        default=30.0, description="Seconds of silence from a tool in the middle of its body."
    )
    send_timeout: Annotated[Seconds, Shown("Listener", "SECONDS")] = Field(
        default=300.0, description="Seconds in which a tool takes nothing of its answer, until it is cut."
    )
    auth: Annotated[AuthMethod, Shown("Sign-in", "METHOD")] = Field(
        default="auto", description="How to sign in."
    )
    tenant: Annotated[Tenant, Shown("Sign-in", "TENANT", ecosystem="AZURE_TENANT_ID")] = Field(
        default="", description="Entra tenant, as GUID or domain name."
    )
    client_id: Annotated[str, Shown("Sign-in", "ID", ecosystem="AZURE_CLIENT_ID")] = Field(
        default="", description="Application (client) id of the app registration to sign in with."
    )
    client_secret: Annotated[SecretStr | None, Shown("Sign-in", ecosystem="AZURE_CLIENT_SECRET")] = Field(
        default=None, description="The app registration's secret value."
    )
    client_secret_file: Annotated[str, Shown("Sign-in", "FILE", names_file=True)] = Field(
        default="", description="File that holds the client secret."
    )
    client_certificate_file: Annotated[
        str, Shown("Sign-in", "FILE", ecosystem="AZURE_CLIENT_CERTIFICATE_PATH", names_file=True)
    ] = Field(
        default="",
        description="PEM or PFX file with the app registration's certificate and its RSA key.",
    )
    client_certificate_password: Annotated[
        SecretStr | None, Shown("Sign-in", ecosystem="AZURE_CLIENT_CERTIFICATE_PASSWORD")
    ] = Field(default=None, description="Password of the certificate's file.")
    client_certificate_password_file: Annotated[str, Shown("Sign-in", "FILE", names_file=True)] = Field(
        default="", description="File that holds the password of the certificate's file."
    )
    send_certificate_chain: Annotated[
        bool, Shown("Sign-in", ecosystem="AZURE_CLIENT_SEND_CERTIFICATE_CHAIN")
    ] = Field(
        default=False,
        description="Send the certificate along (x5c), for registrations that trust its subject and issuer.",
    )
    federated_token_file: Annotated[
        str, Shown("Sign-in", "FILE", ecosystem="AZURE_FEDERATED_TOKEN_FILE", names_file=True)
    ] = Field(
        default="", description="File into which a platform writes the app's assertion, such as Kubernetes."
    )
    github_token_url: Annotated[
        HttpsUrl, Shown("Sign-in", "URL", ecosystem="ACTIONS_ID_TOKEN_REQUEST_URL")
    ] = Field(default="", description="Where a GitHub Actions job gets its assertion; GitHub sets it.")
    github_token: Annotated[
        SecretStr | None, Shown("Sign-in", ecosystem="ACTIONS_ID_TOKEN_REQUEST_TOKEN")
    ] = Field(default=None, description="What GitHub asks the job for there; GitHub sets it.")
    managed_identity_resource_id: Annotated[str, Shown("Sign-in", "ID")] = Field(
        default="", description="Resource id of a user-assigned managed identity, instead of its client id."
    )
    managed_identity_object_id: Annotated[str, Shown("Sign-in", "ID")] = Field(
        default="", description="Object id of a user-assigned managed identity, instead of its client id."
    )
    authority: Annotated[UrlSetting | None, Shown("Sign-in", "URL")] = Field(
        default=None,
        description="Authority outside Microsoft's clouds (a sandbox, a private cloud), its tenant as path.",
    )
    authority_host: Annotated[AuthorityHost, Shown("Sign-in", "HOST", ecosystem="AZURE_AUTHORITY_HOST")] = (
        Field(
            default="",
            description="Microsoft's sign-in host of your cloud; by default the one of the server's cloud.",
        )
    )
    expect_tenant: Annotated[TenantId, Shown("Sign-in", "GUID")] = Field(
        default="", description="Tenant that tokens must be of; others are never sent."
    )
    account: Annotated[str, Shown("Sign-in", "NAME")] = Field(
        default="", description="Account to sign in with, as user name; another one is refused."
    )
    require_organizational_account: Annotated[bool, Shown("Sign-in")] = Field(
        default=False,
        description="Take only accounts and apps of one organization: no guest, no personal account, no open server.",
    )
    audience: Annotated[str, Shown("Sign-in", "AUDIENCE")] = Field(
        default="", description="Audience of the token where it is not the base URL."
    )
    token: Annotated[SecretStr | None, Shown("Sign-in")] = Field(
        default=None, description="Bearer token for the method `token`."
    )
    token_file: Annotated[str, Shown("Sign-in", "FILE", names_file=True)] = Field(
        default="", description="File with a bearer token, read again whenever it changes."
    )
    command: Annotated[tuple[str, ...], Shown("Sign-in", "ARGUMENT", singular="command")] = Field(
        default=(),
        description="Program that prints a token, and its arguments, each an element; there is no shell.",
    )
    command_timeout: Annotated[Seconds, Shown("Sign-in", "SECONDS")] = Field(
        default=60.0, description="Seconds that the command has to print a token."
    )
    redirect_port: Annotated[Port, Shown("Sign-in", "PORT")] = Field(
        default=0, description="Fixed port of the sign-in's redirect; 0 takes a free one."
    )
    sign_in_timeout: Annotated[Seconds, Shown("Sign-in", "SECONDS")] = Field(
        default=300.0, description="Seconds that a person has to complete a sign-in."
    )
    sign_in_wait: Annotated[Seconds, Shown("Sign-in", "SECONDS")] = Field(
        default=20.0,
        description="Seconds that a request is held while a person signs in; the sign-in itself goes on.",
    )
    token_cache: Annotated[TokenCache, Shown("Sign-in", "WHERE", holds_password=True)] = Field(
        default="auto",
        repr=False,
        description="Where a person's sign-in outlives the proxy: auto, encrypted, file, none, or rediss://HOST.",
    )
    token_cache_key: Annotated[SecretStr | None, Shown("Sign-in")] = Field(
        default=None,
        description="Keys that seal what is in Redis, each base64 of 32 bytes; the first seals, all open.",
    )
    token_cache_key_file: Annotated[str, Shown("Sign-in", "FILE", names_file=True)] = Field(
        default="", description="File that holds those keys, one a line."
    )
    ca_bundle: Annotated[str, Shown("Server", "FILE", names_file=True)] = Field(
        default="", description="PEM file of further authorities to trust, for the server and for Entra."
    )
    aliases: Annotated[tuple[UrlSetting, ...], Shown("Server", "URL", singular="alias")] = Field(
        default=(), description="Other base URLs that the server uses for itself in what it sends."
    )
    export_storage: Annotated[tuple[StorageAccount, ...], Shown("Server", "HOST")] = Field(
        default=(),
        description="Storage accounts whose files come through the proxy.",
    )
    rewrite: Annotated[Literal["on", "off"], Shown("Server")] = Field(
        default="on", description="Make the server's URLs local ones in what it sends."
    )
    policy: Annotated[Literal["all", "read-only"], Shown("Server")] = Field(
        default="all", description="What tools may do."
    )
    allow: Annotated[tuple[AllowedInteraction, ...], Shown("Server", "INTERACTION", singular="allow")] = (
        Field(
            default=(),
            description="The only interactions that pass, such as read, search-type and $everything; by default all.",
        )
    )
    advertise_auth: Annotated[Literal["hide", "pass"], Shown("Server")] = Field(
        default="hide", description="Whether tools see in /metadata that the server wants OAuth."
    )
    connect_timeout: Annotated[Seconds, Shown("Server", "SECONDS")] = Field(
        default=10.0, description="Seconds to connect to the server, TLS included."
    )
    read_timeout: Annotated[Seconds, Shown("Server", "SECONDS")] = Field(
        default=120.0, description="Seconds of silence from the server after which an exchange is given up."
    )
    retry: Annotated[Literal["on", "off"], Shown("Server")] = Field(
        default="on",
        description="Wait where the server asks for patience, and send again what is safe to send twice.",
    )
    retry_wait: Annotated[Seconds, Shown("Server", "SECONDS")] = Field(
        default=20.0, description="Seconds that a request is held at most while the server asks for patience."
    )


class Config(BaseModel):
    """All settings: those of the process, and one ServerConfig a server."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    servers: tuple[ServerConfig, ...] = Field(
        min_length=1,
        alias="server",
        description="One table a server; a key at the top holds for all of them.",
    )
    admin_listen: Annotated[AdminListenSetting, Shown("Process", "HOST:PORT")] = Field(
        default="localhost:8079",
        validate_default=True,
        description="Address of health, metrics and status; off for none. Others may read the probes alone.",
    )
    drain_timeout: Annotated[Seconds, Shown("Process", "SECONDS")] = Field(
        default=30.0, description="Seconds that running exchanges get when the proxy stops."
    )
    workers: Annotated[Workers, Shown("Process", "NUMBER")] = Field(
        default=1, description="Processes that serve; more than one on Linux alone."
    )
    log_level: Annotated[Literal["error", "warning", "info", "debug"], Shown("Process")] = Field(
        default="info", description="What is logged."
    )
    log_format: Annotated[Literal["text", "json"], Shown("Process")] = Field(
        default="text", description="How log lines look."
    )
    traces: Annotated[Literal["off", "otlp"], Shown("Process")] = Field(
        default="off",
        description="Traces for OpenTelemetry, sent where its own variables say; needs the extra otel.",
    )


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting under all its names."""

    key: str
    shown: Shown
    description: str
    default: object
    """As the model holds it; PydanticUndefined where there is none."""
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
    def of(cls, key: str, field: FieldInfo, *, per_server: bool) -> Setting:
        """The setting that a model's field stands for."""
        annotation = field.annotation
        return cls(
            key,
            next(mark for mark in field.metadata if isinstance(mark, Shown)),
            field.description or "",
            field.default,
            choices=get_args(annotation) if get_origin(annotation) is Literal else (),
            per_server=per_server,
            is_required=field.is_required(),
            is_secret=SecretStr in get_args(annotation),
            is_list=get_origin(annotation) is tuple,
            is_switch=annotation is bool,
        )


def _all_settings() -> Iterator[Setting]:
    for key, field in ServerConfig.model_fields.items():
        yield Setting.of(key, field, per_server=True)
    for key, field in Config.model_fields.items():
        if key != "servers":
            yield Setting.of(key, field, per_server=False)


SETTINGS = MappingProxyType({setting.key: setting for setting in _all_settings()})
"""Every setting by its key: those of a server first, then those of the process."""
