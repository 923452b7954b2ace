"""What a tenant knows: its directories, the applications and users in them, the resources they may reach.

All are values. A registration is changed by registering another one under the same key, as an administrator
changes it in the portal: the next request sees the new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, UUID, uuid5

PERSONAL_ACCOUNTS = "9188040d-6c67-4c5b-b112-36a304b66dad"
"""The directory of personal Microsoft accounts (Microsoft identity platform, "ID token claims", tid)."""

ALIASES = frozenset({"common", "organizations", "consumers"})
"""What may stand in an authority's path in place of a directory: the account then decides."""

GRANT_TYPES = frozenset(
    {
        "authorization_code",
        "refresh_token",
        "client_credentials",
        "urn:ietf:params:oauth:grant-type:device_code",
    }
)
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1"})
"""Their port is ignored in redirect URIs; [::1] is not among them (Microsoft, "Redirect URI")."""


@dataclass(frozen=True, slots=True)
class Directory:
    """One organization: its GUID and the domain names that mean the same in an authority's path."""

    id: str
    domains: tuple[str, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class User:
    """A person's account, member of the directory `home` and guest in those of `guest_of`.

    A personal account's home is PERSONAL_ACCOUNTS. `problem` is the AADSTS code with which every sign-in and
    every refresh of this user fails: 50057 disabled, 50055 password expired, 50076 MFA, 53003 Conditional
    Access… `roles` are the application roles that tokens carry. `note` is shown on the sign-in page.
    """

    username: str
    password: str = field(repr=False)
    home: str
    guest_of: tuple[str, ...] = ()
    name: str = ""
    roles: tuple[str, ...] = ()
    problem: int | None = None
    note: str = ""

    def object_id(self, directory_id: str) -> str:
        """The object id in a directory: the same person has another one in each."""
        return _guid(directory_id, self.username.lower())

    def belongs_to(self, directory_id: str) -> bool:
        """Whether the user is a member or a guest of a directory."""
        return directory_id == self.home or directory_id in self.guest_of


@dataclass(frozen=True, slots=True)
class FederatedCredential:
    """Whose assertions stand in for a secret of the application, such as a Kubernetes cluster's."""

    issuer: str
    subject: str
    public_key_pem: bytes = field(repr=False)
    audience: str = "api://AzureADTokenExchange"


@dataclass(frozen=True, slots=True)
class Client:
    """An application registration.

    `public` is the portal's "Allow public client flows". A code for one of `redirect_uris` ("Mobile and
    desktop applications") is redeemed without a credential and only with PKCE, one for `web_redirect_uris`
    only with a credential. `permissions` are the resources under "API permissions", None for any.
    `secret_expires_at` is in seconds since the epoch. `certificates` are PEM; assertions must be signed with
    one of their keys. `grant_types` are those that the application may use. `problem` is the AADSTS code with
    which every token request fails.
    """

    client_id: str
    home: str
    name: str = ""
    multi_tenant: bool = False
    public: bool = False
    redirect_uris: tuple[str, ...] = ()
    web_redirect_uris: tuple[str, ...] = ()
    secret: str = field(default="", repr=False)
    secret_expires_at: float | None = None
    certificates: tuple[bytes, ...] = field(default=(), repr=False)
    federated_credentials: tuple[FederatedCredential, ...] = ()
    permissions: frozenset[str] | None = None
    grant_types: frozenset[str] = GRANT_TYPES
    problem: int | None = None

    @property
    def has_credential(self) -> bool:
        """Whether anything is registered with which the application could prove itself."""
        return bool(self.secret or self.certificates or self.federated_credentials)

    def object_id(self, directory_id: str) -> str:
        """The id of the application's service principal in a directory, an app-only token's `oid`."""
        return _guid(directory_id, self.client_id)

    def is_native(self, redirect_uri: str) -> bool:
        """Whether a redirect URI is one of a desktop application."""
        return any(redirect_uri_matches(known, redirect_uri) for known in self.redirect_uris)

    def is_web(self, redirect_uri: str) -> bool:
        """Whether a redirect URI is one of a web application."""
        return any(redirect_uri_matches(known, redirect_uri) for known in self.web_redirect_uris)


@dataclass(frozen=True, slots=True)
class Resource:
    """An API that tokens are made for; for FHIR its identifier URI is the base URL.

    `token_version` 1 gives tokens as Azure Health Data Services takes them: `aud` is the URI as it stood in
    the scope. With 2 it is `application_id`. `directories` holds the directories that know the resource, None
    where all do, as with a service of Microsoft's own. `preauthorized` holds the client ids that need no
    consent, `app_roles` maps a client id to the roles granted to it.
    """

    uri: str
    application_id: str = ""
    scopes: tuple[str, ...] = ("user_impersonation",)
    token_version: int = 1
    directories: frozenset[str] | None = None
    preauthorized: frozenset[str] = frozenset()
    admin_consent_required: bool = False
    assignment_required: bool = False
    app_roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def is_named(self, identifier: str) -> bool:
        """Whether a scope's resource part means this one; a slash at the end makes no difference here.

        It does in the token: `aud` is the text of the scope, and the server compares it.
        """
        return bool(identifier) and (
            identifier == self.application_id or identifier.rstrip("/") == self.uri.rstrip("/")
        )


Registration = Directory | User | Client | Resource


@dataclass(frozen=True, slots=True)
class Registry:
    """All registrations, each under its key: GUID, user name in lower case, client id, identifier URI."""

    directories: Mapping[str, Directory] = field(default_factory=dict)
    users: Mapping[str, User] = field(default_factory=dict)
    clients: Mapping[str, Client] = field(default_factory=dict)
    resources: Mapping[str, Resource] = field(default_factory=dict)

    def including(self, *registrations: Registration) -> Registry:
        """The registry with more registrations; one with a known key takes the other's place."""
        return Registry(
            {**self.directories, **{one.id: one for one in registrations if isinstance(one, Directory)}},
            {**self.users, **{one.username.lower(): one for one in registrations if isinstance(one, User)}},
            {**self.clients, **{one.client_id: one for one in registrations if isinstance(one, Client)}},
            {**self.resources, **{one.uri: one for one in registrations if isinstance(one, Resource)}},
        )

    def directory(self, segment: str) -> Directory | None:
        """The directory with a GUID or domain name."""
        return next(
            (
                one
                for one in self.directories.values()
                if segment.lower() == one.id.lower() or segment.lower() in one.domains
            ),
            None,
        )

    def resource(self, identifier: str) -> Resource | None:
        """The resource that a scope names."""
        return next((one for one in self.resources.values() if one.is_named(identifier)), None)


def redirect_uri_matches(registered: str, requested: str) -> bool:
    """Compare redirect URIs as Entra does: exactly, but for the port of http on loopback (RFC 8252, 7.3)."""
    try:
        known, asked = urlsplit(registered), urlsplit(requested)
        ports_equal = known.port == asked.port
    except ValueError:
        return False
    if asked.username is not None or asked.password is not None or "#" in requested:
        return False
    loopback = known.scheme == "http" and known.hostname in LOOPBACK_HOSTS
    return (
        (known.scheme, known.hostname, known.path or "/", known.query)
        == (asked.scheme, asked.hostname, asked.path or "/", asked.query)
        and (ports_equal or loopback)
        and not any(character <= " " for character in requested)
    )


def _guid(directory_id: str, name: str) -> str:
    namespace: UUID = uuid5(NAMESPACE_URL, directory_id)
    return str(uuid5(namespace, name))
