"""The models: every setting is one field, with what its flag, its help and its documents need beside it."""

# No `from __future__ import annotations`: msgspec would have to parse the text of each at every start.

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from msgspec import Struct, structs

from .reading import WrongValues, choices_of, read, read_list
from .values import (
    OFF,
    AdminListenSetting,
    AllowedHost,
    AllowedInteraction,
    AllowedOrigin,
    AuthorityHost,
    Connections,
    HttpsUrl,
    ListenAddress,
    ListenSetting,
    OptionalUrlSetting,
    Port,
    Seconds,
    Secret,
    SecretSetting,
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
    description: str
    """What it is, as sentences."""
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


class _Settings(Struct, frozen=True):
    """What is read once and does not change; `of` reads values, the constructor takes them as they are."""

    @classmethod
    def of(cls, values: Mapping[str, object]) -> Self:
        """From values as TOML has them, None for what is not set. ValueError names a wrong key, but no value."""
        return cls(**_read(values))

    def replace(self, **changes: object) -> Self:
        """The same with some fields changed, which are taken as they are."""
        return structs.replace(self, **changes)

    def plain(self) -> dict[str, object]:
        """As JSON has it, secrets masked, but not the password in the URL of a token cache, which goes with it."""
        return {key: plain(getattr(self, key)) for key in self.__struct_fields__}

    def __repr__(self) -> str:
        shown = (key for key in self.__struct_fields__ if not _holds_password(key))
        return f"{type(self).__name__}({', '.join(f'{key}={getattr(self, key)!r}' for key in shown)})"


def plain(value: object) -> object:
    """A value of a setting as JSON has it, a secret masked."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case tuple():
            return [plain(element) for element in value]
        case _Settings():
            return value.plain()
    return str(value)


def _read(values: Mapping[str, object]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for key, value in values.items():
        if key not in SETTINGS:
            raise ValueError(f"{key} is not a setting")
        if value is not None:
            try:
                settings[key] = SETTINGS[key].read(value)
            except WrongValues as error:
                raise ValueError(f"{key} {error}") from None
    return settings


def _holds_password(key: str) -> bool:
    return key in SETTINGS and SETTINGS[key].shown.holds_password


class ServerConfig(_Settings, frozen=True):
    """The settings of one upstream server and its listener."""

    base_url: Annotated[UrlSetting, Shown("Server", "Base URL of the FHIR server.", "BASE_URL")]
    listen: Annotated[
        ListenSetting,
        Shown(
            "Listener", "Address of the local listener, or unix:PATH; port 0 takes a free one.", "HOST:PORT"
        ),
    ] = ListenAddress("localhost", 8080)
    allow_remote: Annotated[
        bool, Shown("Listener", "Let other machines reach the listener. Whoever reaches it acts as you.")
    ] = False
    allowed_hosts: Annotated[
        tuple[AllowedHost, ...],
        Shown(
            "Listener",
            "More names by which tools may call the listener, such as a container's name.",
            "NAME",
            singular="allowed_host",
        ),
    ] = ()
    allow_origins: Annotated[
        tuple[AllowedOrigin, ...],
        Shown("Listener", "Origins whose web pages may use the listener.", "ORIGIN", singular="allow_origin"),
    ] = ()
    key: Annotated[
        SecretSetting,
        Shown("Listener", "Key that tools have to show, as the field X-Proxy-Key or as the path /k/KEY."),
    ] = None
    key_file: Annotated[str, Shown("Listener", "File that holds the key.", "FILE", names_file=True)] = ""
    max_connections: Annotated[
        Connections,
        Shown("Listener", "Connections of tools at a time; one more is answered with 503.", "NUMBER"),
    ] = 1024
    front: Annotated[
        Literal["fast", "aiohttp"],
        Shown(
            "Listener", "Who parses plain requests: the proxy itself, for less CPU, or aiohttp as all others."
        ),
    ] = "fast"
    head_timeout: Annotated[
        Seconds, Shown("Listener", "Seconds in which a tool has to send the head of a request.", "SECONDS")
    ] = 15.0
    upload_timeout: Annotated[
        Seconds, Shown("Listener", "Seconds of silence from a tool in the middle of its body.", "SECONDS")
    ] = 30.0
    send_timeout: Annotated[
        Seconds,
        Shown("Listener", "Seconds in which a tool takes nothing of its answer, until it is cut.", "SECONDS"),
    ] = 300.0
    auth: Annotated[AuthMethod, Shown("Sign-in", "How to sign in.", "METHOD")] = "auto"
    tenant: Annotated[
        Tenant,
        Shown("Sign-in", "Entra tenant, as GUID or domain name.", "TENANT", ecosystem="AZURE_TENANT_ID"),
    ] = ""
    client_id: Annotated[
        str,
        Shown(
            "Sign-in",
            "Application (client) id of the app registration to sign in with.",
            "ID",
            ecosystem="AZURE_CLIENT_ID",
        ),
    ] = ""
    client_secret: Annotated[
        SecretSetting,
        Shown("Sign-in", "The app registration's secret value.", ecosystem="AZURE_CLIENT_SECRET"),
    ] = None
    client_secret_file: Annotated[
        str, Shown("Sign-in", "File that holds the client secret.", "FILE", names_file=True)
    ] = ""
    client_certificate_file: Annotated[
        str,
        Shown(
            "Sign-in",
            "PEM or PFX file with the app registration's certificate and its RSA key.",
            "FILE",
            ecosystem="AZURE_CLIENT_CERTIFICATE_PATH",
            names_file=True,
        ),
    ] = ""
    client_certificate_password: Annotated[
        SecretSetting,
        Shown(
            "Sign-in", "Password of the certificate's file.", ecosystem="AZURE_CLIENT_CERTIFICATE_PASSWORD"
        ),
    ] = None
    client_certificate_password_file: Annotated[
        str,
        Shown("Sign-in", "File that holds the password of the certificate's file.", "FILE", names_file=True),
    ] = ""
    send_certificate_chain: Annotated[
        bool,
        Shown(
            "Sign-in",
            "Send the certificate along (x5c), for registrations that trust its subject and issuer.",
            ecosystem="AZURE_CLIENT_SEND_CERTIFICATE_CHAIN",
        ),
    ] = False
    federated_token_file: Annotated[
        str,
        Shown(
            "Sign-in",
            "File into which a platform writes the app's assertion, such as Kubernetes.",
            "FILE",
            ecosystem="AZURE_FEDERATED_TOKEN_FILE",
            names_file=True,
        ),
    ] = ""
    github_token_url: Annotated[
        HttpsUrl,
        Shown(
            "Sign-in",
            "Where a GitHub Actions job gets its assertion; GitHub sets it.",
            "URL",
            ecosystem="ACTIONS_ID_TOKEN_REQUEST_URL",
        ),
    ] = ""
    github_token: Annotated[
        SecretSetting,
        Shown(
            "Sign-in",
            "What GitHub asks the job for there; GitHub sets it.",
            ecosystem="ACTIONS_ID_TOKEN_REQUEST_TOKEN",
        ),
    ] = None
    managed_identity_resource_id: Annotated[
        str,
        Shown("Sign-in", "Resource id of a user-assigned managed identity, instead of its client id.", "ID"),
    ] = ""
    managed_identity_object_id: Annotated[
        str,
        Shown("Sign-in", "Object id of a user-assigned managed identity, instead of its client id.", "ID"),
    ] = ""
    authority: Annotated[
        OptionalUrlSetting,
        Shown(
            "Sign-in",
            "Authority outside Microsoft's clouds (a sandbox, a private cloud), its tenant as path.",
            "URL",
        ),
    ] = None
    authority_host: Annotated[
        AuthorityHost,
        Shown(
            "Sign-in",
            "Microsoft's sign-in host of your cloud; by default the one of the server's cloud.",
            "HOST",
            ecosystem="AZURE_AUTHORITY_HOST",
        ),
    ] = ""
    expect_tenant: Annotated[
        TenantId, Shown("Sign-in", "Tenant that tokens must be of; others are never sent.", "GUID")
    ] = ""
    account: Annotated[
        str, Shown("Sign-in", "Account to sign in with, as user name; another one is refused.", "NAME")
    ] = ""
    require_organizational_account: Annotated[
        bool,
        Shown(
            "Sign-in",
            "Take only accounts and apps of one organization: no guest, no personal account, no open server.",
        ),
    ] = False
    audience: Annotated[
        str, Shown("Sign-in", "Audience of the token where it is not the base URL.", "AUDIENCE")
    ] = ""
    token: Annotated[SecretSetting, Shown("Sign-in", "Bearer token for the method `token`.")] = None
    token_file: Annotated[
        str,
        Shown(
            "Sign-in", "File with a bearer token, read again whenever it changes.", "FILE", names_file=True
        ),
    ] = ""
    command: Annotated[
        tuple[str, ...],
        Shown(
            "Sign-in",
            "Program that prints a token, and its arguments, each an element; there is no shell.",
            "ARGUMENT",
            singular="command",
        ),
    ] = ()
    command_timeout: Annotated[
        Seconds, Shown("Sign-in", "Seconds that the command has to print a token.", "SECONDS")
    ] = 60.0
    redirect_port: Annotated[
        Port, Shown("Sign-in", "Fixed port of the sign-in's redirect; 0 takes a free one.", "PORT")
    ] = 0
    sign_in_timeout: Annotated[
        Seconds, Shown("Sign-in", "Seconds that a person has to complete a sign-in.", "SECONDS")
    ] = 300.0
    sign_in_wait: Annotated[
        Seconds,
        Shown(
            "Sign-in",
            "Seconds that a request is held while a person signs in; the sign-in itself goes on.",
            "SECONDS",
        ),
    ] = 20.0
    token_cache: Annotated[
        TokenCache,
        Shown(
            "Sign-in",
            "Where a person's sign-in outlives the proxy: auto, encrypted, file, none, or rediss://HOST.",
            "WHERE",
            holds_password=True,
        ),
    ] = "auto"  # noqa: S105  (where they are kept)
    token_cache_key: Annotated[
        SecretSetting,
        Shown(
            "Sign-in", "Keys that seal what is in Redis, each base64 of 32 bytes; the first seals, all open."
        ),
    ] = None
    token_cache_key_file: Annotated[
        str, Shown("Sign-in", "File that holds those keys, one a line.", "FILE", names_file=True)
    ] = ""
    ca_bundle: Annotated[
        str,
        Shown(
            "Server",
            "PEM file of further authorities to trust, for the server and for Entra.",
            "FILE",
            names_file=True,
        ),
    ] = ""
    aliases: Annotated[
        tuple[UrlSetting, ...],
        Shown(
            "Server",
            "Other base URLs that the server uses for itself in what it sends.",
            "URL",
            singular="alias",
        ),
    ] = ()
    export_storage: Annotated[
        tuple[StorageAccount, ...],
        Shown("Server", "Storage accounts whose files come through the proxy.", "HOST"),
    ] = ()
    rewrite: Annotated[
        Literal["on", "off"], Shown("Server", "Make the server's URLs local ones in what it sends.")
    ] = "on"
    policy: Annotated[Literal["all", "read-only"], Shown("Server", "What tools may do.")] = "all"
    allow: Annotated[
        tuple[AllowedInteraction, ...],
        Shown(
            "Server",
            "The only interactions that pass, such as read, search-type and $everything; by default all.",
            "INTERACTION",
            singular="allow",
        ),
    ] = ()
    advertise_auth: Annotated[
        Literal["hide", "pass"],
        Shown("Server", "Whether tools see in /metadata that the server wants OAuth."),
    ] = "hide"
    connect_timeout: Annotated[
        Seconds, Shown("Server", "Seconds to connect to the server, TLS included.", "SECONDS")
    ] = 10.0
    read_timeout: Annotated[
        Seconds,
        Shown("Server", "Seconds of silence from the server after which an exchange is given up.", "SECONDS"),
    ] = 120.0
    retry: Annotated[
        Literal["on", "off"],
        Shown(
            "Server", "Wait where the server asks for patience, and send again what is safe to send twice."
        ),
    ] = "on"
    retry_wait: Annotated[
        Seconds,
        Shown(
            "Server", "Seconds that a request is held at most while the server asks for patience.", "SECONDS"
        ),
    ] = 20.0


DEFAULT_ADMIN_LISTEN = ListenAddress("localhost", 8079)
"""This very object tells that none was asked for: the same address, where it is given, is another one."""


class Config(_Settings, frozen=True):
    """All settings: those of the process, and one ServerConfig a server."""

    servers: tuple[ServerConfig, ...]
    admin_listen: Annotated[
        AdminListenSetting,
        Shown(
            "Process",
            "Address of health, metrics and status; off for none. Others may read the probes alone.",
            "HOST:PORT",
        ),
    ] = DEFAULT_ADMIN_LISTEN
    drain_timeout: Annotated[
        Seconds, Shown("Process", "Seconds that running exchanges get when the proxy stops.", "SECONDS")
    ] = 30.0
    workers: Annotated[
        Workers, Shown("Process", "Processes that serve; more than one on Linux alone.", "NUMBER")
    ] = 1
    log_level: Annotated[
        Literal["error", "warning", "info", "debug"], Shown("Process", "What is logged.")
    ] = "info"
    log_format: Annotated[Literal["text", "json"], Shown("Process", "How log lines look.")] = "text"
    traces: Annotated[
        Literal["off", "otlp"],
        Shown("Process", "Traces for OpenTelemetry, sent where its own variables say; needs the extra otel."),
    ] = "off"

    @classmethod
    def of(cls, values: Mapping[str, object]) -> Self:
        """From values as a TOML file has them: those of the process, and a list of tables as `server`."""
        tables = values.get("server")
        if not isinstance(tables, list) or not tables:
            raise ValueError("server is not a list of at least one table")
        process = _read({key: value for key, value in values.items() if key != "server"})
        return cls(servers=tuple(map(ServerConfig.of, tables)), **process)

    @property
    def wants_admin_listener(self) -> bool:
        """Whether somebody asked for an admin listener: then there is one, or no start."""
        return self.admin_listen is not None and self.admin_listen is not DEFAULT_ADMIN_LISTEN

    def plain(self) -> dict[str, object]:
        """As JSON has it, secrets masked."""
        return super().plain() | {"admin_listen": str(self.admin_listen or OFF)}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting under all its names."""

    key: str
    shown: Shown
    kind: object
    """The type of its value; of a list, that of an element."""
    default: object
    """As the model holds it; None where there is none."""
    choices: tuple[str, ...]
    per_server: bool
    is_required: bool
    is_secret: bool
    is_list: bool
    is_switch: bool

    @property
    def description(self) -> str:
        """What it is, as sentences."""
        return self.shown.description

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

    def read(self, value: object) -> object:
        """A value as TOML or the environment has it, as the model holds it; raises WrongValues."""
        return read_list(self.kind, value) if self.is_list else read(self.kind, value)

    @classmethod
    def of(cls, field: structs.FieldInfo, *, per_server: bool) -> Self:
        """The setting that a model's field stands for."""
        annotation, *marks = get_args(field.type)
        is_list = get_origin(annotation) is tuple
        kind = get_args(annotation)[0] if is_list else field.type
        return cls(
            field.name,
            next(mark for mark in marks if isinstance(mark, Shown)),
            kind,
            None if field.required else field.default,
            choices=choices_of(annotation),
            per_server=per_server,
            is_required=field.required,
            is_secret=Secret in get_args(annotation),
            is_list=is_list,
            is_switch=annotation is bool,
        )


def _all_settings() -> Iterator[Setting]:
    for field in structs.fields(ServerConfig):
        yield Setting.of(field, per_server=True)
    for field in structs.fields(Config):
        if field.name != "servers":
            yield Setting.of(field, per_server=False)


SETTINGS = MappingProxyType({setting.key: setting for setting in _all_settings()})
"""Every setting by its key: those of a server first, then those of the process."""
