"""The settings of one server: each is one field, with what its flag, its help and its documents need beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ..model import BaseUrl
from .kinds import SECRET, SWITCH, TEXT, Secret, many, one_of
from .models import Model, field
from .values import (
    ALLOWED_HOST,
    ALLOWED_INTERACTION,
    ALLOWED_ORIGIN,
    AUTHORITY_HOST,
    CONNECTIONS,
    HTTPS_URL,
    LISTEN,
    OPTIONAL_URL,
    PORT,
    SECONDS,
    STORAGE_ACCOUNT,
    TENANT,
    TENANT_ID,
    TOKEN_CACHE,
    URL,
    ListenAddress,
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
AUTH_METHODS: tuple[AuthMethod, ...] = get_args(AuthMethod)
Group = Literal["Listener", "Sign-in", "Server", "Process"]


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


class ServerConfig(Model):
    """The settings of one upstream server and its listener."""

    base_url: BaseUrl = field(URL, Shown("Server", "BASE_URL"), description="Base URL of the FHIR server.")
    listen: ListenAddress = field(
        LISTEN,
        Shown("Listener", "HOST:PORT"),
        "localhost:8080",
        "Address of the local listener, or unix:PATH; port 0 takes a free one.",
    )
    allow_remote: bool = field(
        SWITCH,
        Shown("Listener"),
        False,
        "Let other machines reach the listener. Whoever reaches it acts as you.",
    )
    allowed_hosts: tuple[str, ...] = field(
        many(ALLOWED_HOST),
        Shown("Listener", "NAME", singular="allowed_host"),
        (),
        "More names by which tools may call the listener, such as a container's name.",
    )
    allow_origins: tuple[str, ...] = field(
        many(ALLOWED_ORIGIN),
        Shown("Listener", "ORIGIN", singular="allow_origin"),
        (),
        "Origins whose web pages may use the listener.",
    )
    key: Secret | None = field(
        SECRET,
        Shown("Listener"),
        None,
        "Key that tools have to show, as the field X-Proxy-Key or as the path /k/KEY.",
    )
    key_file: str = field(TEXT, Shown("Listener", "FILE", names_file=True), "", "File that holds the key.")
    max_connections: int = field(
        CONNECTIONS,
        Shown("Listener", "NUMBER"),
        1024,
        "Connections of tools at a time; one more is answered with 503.",
    )
    front: Literal["fast", "aiohttp"] = field(
        one_of("fast", "aiohttp"),
        Shown("Listener"),
        "fast",
        "Who parses plain requests: the proxy itself, for less CPU, or aiohttp as all others.",
    )
    head_timeout: float = field(
        SECONDS,
        Shown("Listener", "SECONDS"),
        15.0,
        "Seconds in which a tool has to send the head of a request.",
    )
    upload_timeout: float = field(
        SECONDS,
        Shown("Listener", "SECONDS"),
        30.0,
        "Seconds of silence from a tool in the middle of its body.",
    )
    send_timeout: float = field(
        SECONDS,
        Shown("Listener", "SECONDS"),
        300.0,
        "Seconds in which a tool takes nothing of its answer, until it is cut.",
    )
    auth: AuthMethod = field(one_of(*AUTH_METHODS), Shown("Sign-in", "METHOD"), "auto", "How to sign in.")
    tenant: str = field(
        TENANT,
        Shown("Sign-in", "TENANT", ecosystem="AZURE_TENANT_ID"),
        "",
        "Entra tenant, as GUID or domain name.",
    )
    client_id: str = field(
        TEXT,
        Shown("Sign-in", "ID", ecosystem="AZURE_CLIENT_ID"),
        "",
        "Application (client) id of the app registration to sign in with.",
    )
    client_secret: Secret | None = field(
        SECRET,
        Shown("Sign-in", ecosystem="AZURE_CLIENT_SECRET"),
        None,
        "The app registration's secret value.",
    )
    client_secret_file: str = field(
        TEXT, Shown("Sign-in", "FILE", names_file=True), "", "File that holds the client secret."
    )
    client_certificate_file: str = field(
        TEXT,
        Shown("Sign-in", "FILE", ecosystem="AZURE_CLIENT_CERTIFICATE_PATH", names_file=True),
        "",
        "PEM or PFX file with the app registration's certificate and its RSA key.",
    )
    client_certificate_password: Secret | None = field(
        SECRET,
        Shown("Sign-in", ecosystem="AZURE_CLIENT_CERTIFICATE_PASSWORD"),
        None,
        "Password of the certificate's file.",
    )
    client_certificate_password_file: str = field(
        TEXT,
        Shown("Sign-in", "FILE", names_file=True),
        "",
        "File that holds the password of the certificate's file.",
    )
    send_certificate_chain: bool = field(
        SWITCH,
        Shown("Sign-in", ecosystem="AZURE_CLIENT_SEND_CERTIFICATE_CHAIN"),
        False,
        "Send the certificate along (x5c), for registrations that trust its subject and issuer.",
    )
    federated_token_file: str = field(
        TEXT,
        Shown("Sign-in", "FILE", ecosystem="AZURE_FEDERATED_TOKEN_FILE", names_file=True),
        "",
        "File into which a platform writes the app's assertion, such as Kubernetes.",
    )
    github_token_url: str = field(
        HTTPS_URL,
        Shown("Sign-in", "URL", ecosystem="ACTIONS_ID_TOKEN_REQUEST_URL"),
        "",
        "Where a GitHub Actions job gets its assertion; GitHub sets it.",
    )
    github_token: Secret | None = field(
        SECRET,
        Shown("Sign-in", ecosystem="ACTIONS_ID_TOKEN_REQUEST_TOKEN"),
        None,
        "What GitHub asks the job for there; GitHub sets it.",
    )
    managed_identity_resource_id: str = field(
        TEXT,
        Shown("Sign-in", "ID"),
        "",
        "Resource id of a user-assigned managed identity, instead of its client id.",
    )
    managed_identity_object_id: str = field(
        TEXT,
        Shown("Sign-in", "ID"),
        "",
        "Object id of a user-assigned managed identity, instead of its client id.",
    )
    authority: BaseUrl | None = field(
        OPTIONAL_URL,
        Shown("Sign-in", "URL"),
        None,
        "Authority outside Microsoft's clouds (a sandbox, a private cloud), its tenant as path.",
    )
    authority_host: str = field(
        AUTHORITY_HOST,
        Shown("Sign-in", "HOST", ecosystem="AZURE_AUTHORITY_HOST"),
        "",
        "Microsoft's sign-in host of your cloud; by default the one of the server's cloud.",
    )
    expect_tenant: str = field(
        TENANT_ID, Shown("Sign-in", "GUID"), "", "Tenant that tokens must be of; others are never sent."
    )
    account: str = field(
        TEXT, Shown("Sign-in", "NAME"), "", "Account to sign in with, as user name; another one is refused."
    )
    require_organizational_account: bool = field(
        SWITCH,
        Shown("Sign-in"),
        False,
        "Take only accounts and apps of one organization: no guest, no personal account, no open server.",
    )
    audience: str = field(
        TEXT, Shown("Sign-in", "AUDIENCE"), "", "Audience of the token where it is not the base URL."
    )
    token: Secret | None = field(SECRET, Shown("Sign-in"), None, "Bearer token for the method `token`.")
    token_file: str = field(
        TEXT,
        Shown("Sign-in", "FILE", names_file=True),
        "",
        "File with a bearer token, read again whenever it changes.",
    )
    command: tuple[str, ...] = field(
        many(TEXT),
        Shown("Sign-in", "ARGUMENT", singular="command"),
        (),
        "Program that prints a token, and its arguments, each an element; there is no shell.",
    )
    command_timeout: float = field(
        SECONDS, Shown("Sign-in", "SECONDS"), 60.0, "Seconds that the command has to print a token."
    )
    redirect_port: int = field(
        PORT, Shown("Sign-in", "PORT"), 0, "Fixed port of the sign-in's redirect; 0 takes a free one."
    )
    sign_in_timeout: float = field(
        SECONDS, Shown("Sign-in", "SECONDS"), 300.0, "Seconds that a person has to complete a sign-in."
    )
    sign_in_wait: float = field(
        SECONDS,
        Shown("Sign-in", "SECONDS"),
        20.0,
        "Seconds that a request is held while a person signs in; the sign-in itself goes on.",
    )
    token_cache: str = field(
        TOKEN_CACHE,
        Shown("Sign-in", "WHERE", holds_password=True),
        "auto",
        "Where a person's sign-in outlives the proxy: auto, encrypted, file, none, or rediss://HOST.",
        repr=False,
    )
    token_cache_key: Secret | None = field(
        SECRET,
        Shown("Sign-in"),
        None,
        "Keys that seal what is in Redis, each base64 of 32 bytes; the first seals, all open.",
    )
    token_cache_key_file: str = field(
        TEXT, Shown("Sign-in", "FILE", names_file=True), "", "File that holds those keys, one a line."
    )
    ca_bundle: str = field(
        TEXT,
        Shown("Server", "FILE", names_file=True),
        "",
        "PEM file of further authorities to trust, for the server and for Entra.",
    )
    aliases: tuple[BaseUrl, ...] = field(
        many(URL),
        Shown("Server", "URL", singular="alias"),
        (),
        "Other base URLs that the server uses for itself in what it sends.",
    )
    export_storage: tuple[str, ...] = field(
        many(STORAGE_ACCOUNT),
        Shown("Server", "HOST"),
        (),
        "Storage accounts whose files come through the proxy.",
    )
    rewrite: Literal["on", "off"] = field(
        one_of("on", "off"), Shown("Server"), "on", "Make the server's URLs local ones in what it sends."
    )
    policy: Literal["all", "read-only"] = field(
        one_of("all", "read-only"), Shown("Server"), "all", "What tools may do."
    )
    allow: tuple[str, ...] = field(
        many(ALLOWED_INTERACTION),
        Shown("Server", "INTERACTION", singular="allow"),
        (),
        "The only interactions that pass, such as read, search-type and $everything; by default all.",
    )
    advertise_auth: Literal["hide", "pass"] = field(
        one_of("hide", "pass"),
        Shown("Server"),
        "hide",
        "Whether tools see in /metadata that the server wants OAuth.",
    )
    connect_timeout: float = field(
        SECONDS, Shown("Server", "SECONDS"), 10.0, "Seconds to connect to the server, TLS included."
    )
    read_timeout: float = field(
        SECONDS,
        Shown("Server", "SECONDS"),
        120.0,
        "Seconds of silence from the server after which an exchange is given up.",
    )
    retry: Literal["on", "off"] = field(
        one_of("on", "off"),
        Shown("Server"),
        "on",
        "Wait where the server asks for patience, and send again what is safe to send twice.",
    )
    retry_wait: float = field(
        SECONDS,
        Shown("Server", "SECONDS"),
        20.0,
        "Seconds that a request is held at most while the server asks for patience.",
    )
