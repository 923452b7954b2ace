"""The answers of a token endpoint that says yes.

Claims follow Microsoft, "Access token claims reference": version 1 names the application `appid`, version 2
`azp`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from uuid import uuid4

from .authority import Authority
from .errors import EntraError
from .grants import Grant, RefreshToken
from .registry import PERSONAL_ACCOUNTS, Client, Directory, Resource, User
from .scopes import Scopes

ID_TOKEN_LIFETIME = 3600
APPLICATION_NAMES = {1: ("appid", "appidacr"), 2: ("azp", "azpacr")}
PUBLIC, SECRET, ASSERTION = "0", "1", "2"
"""How the application proved itself: the values of `appidacr` and `azpacr`."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a token request asks beyond its grant: scopes, capabilities (`CP1`), and a fault's lifetime."""

    scopes: Scopes
    capabilities: tuple[str, ...] = ()
    lifetime: float | None = None


class Issuing:
    """Makes tokens of what the authority allows; EntraError where it does not."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    def to_person(self, grant: Grant, wish: Wish, proof: str) -> dict[str, object]:
        """Access token, refresh token and id token for a person's grant."""
        authority, scopes = self._authority, wish.scopes
        client = authority.client(grant.client_id, grant.directory_id)
        user = authority.known_user(grant.username)
        resource = authority.resource(scopes, client, grant.directory_id)
        authority.admit(user, client, resource, grant.directory_id)
        permissions = resource.scopes if scopes.is_default else scopes.permissions
        claims = {
            **self._common(resource, client, grant.directory_id, wish, proof),
            **self._person(user, grant.directory_id),
            "sub": user.object_id(grant.directory_id),
            "scp": " ".join(permissions),
            **({"roles": list(user.roles)} if user.roles else {}),
        }
        # MSAL files the token under this scope: without the text that was asked for it would never be found.
        granted = dict.fromkeys((*permissions, *scopes.permissions))
        answer: dict[str, object] = {
            **self._bearer(claims, wish),
            "scope": " ".join((*(f"{scopes.resource}/{name}" for name in granted), *sorted(scopes.openid))),
            "client_info": client_info(user),
        }
        if "offline_access" in scopes.openid:
            token = RefreshToken(replace(grant, scopes=scopes))
            answer["refresh_token"] = authority.refresh_tokens.add(token, authority.lifetimes.refresh_token)
        if "openid" in scopes.openid:
            answer["id_token"] = self._id_token(grant, user)
        return answer

    def to_application(
        self, client: Client, directory: Directory, wish: Wish, proof: str
    ) -> dict[str, object]:
        """An access token for the application itself: no refresh token, no id token, no client_info."""
        scopes = wish.scopes
        if not scopes.is_default:
            raise EntraError(1002012, scopes.text)
        resource = self._authority.resource(scopes, client, directory.id)
        roles = resource.app_roles.get(client.client_id, ())
        if resource.assignment_required and not roles:
            raise EntraError(501051, client.client_id)
        principal = client.object_id(directory.id)
        claims = {
            **self._common(resource, client, directory.id, wish, proof),
            "idtyp": "app",
            "oid": principal,
            "sub": principal,
            **({"roles": list(roles)} if roles else {}),
        }
        return self._bearer(claims, wish)

    def _bearer(self, claims: Mapping[str, object], wish: Wish) -> dict[str, object]:
        refresh_in = self._authority.lifetimes.refresh_in
        return {
            "token_type": "Bearer",
            "expires_in": self._lifetime(wish),
            "ext_expires_in": self._lifetime(wish),
            **({} if refresh_in is None else {"refresh_in": refresh_in}),
            "access_token": self._authority.signer.sign(claims),
        }

    def _lifetime(self, wish: Wish) -> int:
        return int(self._authority.lifetimes.access_token if wish.lifetime is None else wish.lifetime)

    def _common(
        self, resource: Resource, client: Client, directory_id: str, wish: Wish, proof: str
    ) -> dict[str, object]:
        now, version = int(self._authority.clock()), resource.token_version
        return {
            "aud": wish.scopes.resource if version == 1 else resource.application_id,
            "iss": self._authority.issuer(directory_id, version),
            "iat": now,
            "nbf": now,
            "exp": now + self._lifetime(wish),
            "tid": directory_id,
            "uti": uuid4().hex,  # No two tokens are equal, even of one second.
            "ver": f"{version}.0",
            **dict(zip(APPLICATION_NAMES[version], (client.client_id, proof), strict=True)),
            **({"xms_cc": list(wish.capabilities)} if wish.capabilities else {}),
        }

    def _person(self, user: User, directory_id: str) -> dict[str, object]:
        person: dict[str, object] = {
            "name": user.name or user.username,
            "oid": user.object_id(directory_id),
            "unique_name": user.username,
            "preferred_username": user.username,
        }
        if user.home == directory_id:
            return {**person, "upn": user.username}
        # A guest has no upn of its own in the directory; idp tells where the account is at home.
        idp = "live.com" if user.home == PERSONAL_ACCOUNTS else self._authority.issuer(user.home, 1)
        return {**person, "email": user.username, "idp": idp}

    def _id_token(self, grant: Grant, user: User) -> str:
        now = int(self._authority.clock())
        person = self._person(user, grant.directory_id)
        return self._authority.signer.sign(
            {
                **{name: value for name, value in person.items() if name not in {"upn", "unique_name"}},
                "aud": grant.client_id,
                "iss": self._authority.issuer(grant.directory_id, 2),
                "iat": now,
                "nbf": now,
                "exp": now + ID_TOKEN_LIFETIME,
                "sub": user.object_id(grant.directory_id),
                "tid": grant.directory_id,
                "ver": "2.0",
                **({"nonce": grant.nonce} if grant.nonce else {}),
            }
        )


def client_info(user: User) -> str:
    """The account at home, base64url of `{"uid", "utid"}`: MSAL makes no account without it."""
    value = {"uid": user.object_id(user.home), "utid": user.home}
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode("ascii")
