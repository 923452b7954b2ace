"""What the tenant knows and decides: who may act where, and with which consent.

Nothing here knows HTTP. Refusals are EntraError. A *segment* is what stands in a path in the place of the
tenant: a directory's GUID, one of its domain names, or `common`, `organizations`, `consumers`.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from .errors import EntraError
from .grants import AuthorizationCode, Browser, Clock, DeviceRequest, RefreshToken, Store
from .registry import ALIASES, PERSONAL_ACCOUNTS, Client, Directory, Registry, Resource, User
from .scopes import DEFAULT, Scopes
from .tokens import Claims, Signer


@dataclass(slots=True)
class Lifetimes:
    """How long things live, in seconds; may be changed at any time, what exists keeps its own.

    `refresh_in` is sent with each access token where it is set. `device_interval` is what a device has to
    wait between polls; with 0 none is ever told to slow down.
    """

    access_token: float = 3600
    refresh_token: float = 90 * 86400
    authorization_code: float = 600
    device_code: float = 900
    device_interval: float = 5
    browser_session: float = 86400
    refresh_in: int | None = None


class Authority:
    """The state of a tenant and the rules by which it lets applications and people in."""

    def __init__(self, registry: Registry, clock: Clock, lifetimes: Lifetimes) -> None:
        self.registry = registry
        self.clock = clock
        self.lifetimes = lifetimes
        self.signer = Signer()
        self.origin = ""
        """`https://host:port`, known once the tenant listens."""
        self.codes: Store[AuthorizationCode] = Store(clock)
        self.devices: Store[DeviceRequest] = Store(clock)
        self.refresh_tokens: Store[RefreshToken] = Store(clock)
        self.browsers: Store[Browser] = Store(clock)
        self._consents: set[tuple[str, str, str, str]] = set()

    def issuer(self, directory_id: str, version: int) -> str:
        """The `iss` of a directory's tokens of version 1 or 2."""
        return f"{self.origin}/{directory_id}/" + ("v2.0" if version == 2 else "")

    def directory(self, segment: str) -> Directory | None:
        """The directory of a segment, None for an alias; EntraError 90002."""
        directory = self.registry.directory(segment)
        if directory is None and segment.lower() not in ALIASES:
            raise EntraError(90002, segment)
        return directory

    def client(self, client_id: str, segment: str) -> Client:
        """An application as it is known under a segment; EntraError 900144, 700016 or 50194."""
        if not client_id:
            raise EntraError(900144, "client_id")
        client = self.registry.clients.get(client_id)
        directory = self.directory(segment)
        if client is None:
            raise EntraError(700016, client_id)
        if not client.multi_tenant and directory is None:
            raise EntraError(50194, client_id)
        if not client.multi_tenant and directory is not None and directory.id != client.home:
            raise EntraError(700016, client_id)
        return client

    def resource(self, scopes: Scopes, client: Client, segment: str) -> Resource:
        """The resource of a request; EntraError 70011, 500011, 650057, 650053 or 90124."""
        directory = self.directory(segment)
        if not scopes.resource:
            raise EntraError(70011, " ".join(sorted(scopes.openid)))
        resource = self.registry.resource(scopes.resource)
        if resource is None or (
            directory is not None
            and resource.directories is not None
            and directory.id not in resource.directories
        ):
            raise EntraError(500011, scopes.resource)
        if client.permissions is not None and resource.uri not in client.permissions:
            raise EntraError(650057, scopes.resource)
        consumer = segment.lower() in {"common", "consumers"} or (
            directory is not None and directory.id == PERSONAL_ACCOUNTS
        )
        if consumer and resource.token_version == 1:
            raise EntraError(90124, scopes.resource)
        unknown = [name for name in scopes.permissions if name != DEFAULT and name not in resource.scopes]
        if unknown:
            raise EntraError(650053, f"{scopes.resource}/{unknown[0]}")
        return resource

    def user(self, username: str, password: str) -> User:
        """The user of a name and password; EntraError 50034, 50126 or the user's own problem."""
        user = self.registry.users.get(username.strip().lower())
        if user is None:
            raise EntraError(50034, username.strip())
        if not hmac.compare_digest(user.password.encode(), password.encode()):
            raise EntraError(50126)
        return self.usable(user)

    def usable(self, user: User) -> User:
        """The user, unless something stands against each of their sign-ins."""
        if user.problem is not None:
            raise EntraError(user.problem, user.username)
        return user

    def known_user(self, username: str) -> User:
        """The user of a name, without asking for a password; EntraError 50034 or the user's own problem."""
        user = self.registry.users.get(username.lower())
        if user is None:
            raise EntraError(50034, username)
        return self.usable(user)

    def admit(self, user: User, client: Client, resource: Resource, directory_id: str) -> None:
        """Check what stands between a signed-in user and a token; EntraError 65001 or 50105."""
        if not self.is_consented(user, client, resource, directory_id):
            raise EntraError(65001, client.name or client.client_id)
        if resource.assignment_required and not user.roles:
            raise EntraError(50105, user.username)

    def directory_for(self, user: User, segment: str) -> Directory:
        """The directory in which a user signs in; EntraError 50020 or 500200."""
        directory = self.directory(segment)
        is_personal = user.home == PERSONAL_ACCOUNTS
        if directory is None:
            if (segment.lower() == "organizations" and is_personal) or (
                segment.lower() == "consumers" and not is_personal
            ):
                raise EntraError(500200 if is_personal else 50020, user.username)
            return self.registry.directories[user.home]
        if not user.belongs_to(directory.id):
            raise EntraError(50020, user.username)
        return directory

    def is_consented(self, user: User, client: Client, resource: Resource, directory_id: str) -> bool:
        """Whether no consent page is needed any more."""
        key = (directory_id, user.username, client.client_id, resource.uri)
        return client.client_id in resource.preauthorized or key in self._consents

    def consent(self, user: User, client: Client, resource: Resource, directory_id: str) -> None:
        """Remember that a user consented; EntraError 90094 where only an administrator may."""
        if resource.admin_consent_required:
            raise EntraError(90094, client.name or client.client_id)
        self._consents.add((directory_id, user.username, client.client_id, resource.uri))

    def withdraw_consents(self) -> None:
        """Forget every consent; pre-authorized applications still need none."""
        self._consents.clear()

    def revoke(self, username: str) -> None:
        """End all sessions of a user: refresh tokens die and browsers forget the account."""
        name = username.lower()
        for token in self.refresh_tokens:
            token.is_revoked = token.is_revoked or token.grant.username.lower() == name
        for browser in self.browsers:
            browser.accounts = tuple(one for one in browser.accounts if one.lower() != name)

    def verify(self, token: str, audience: str, directory_id: str) -> Claims:
        """The claims of an access token for an audience, issued in a directory; InvalidToken."""
        issuers = {self.issuer(directory_id, version) for version in (1, 2)}
        return self.signer.verify(token, audience, issuers, self.clock())
