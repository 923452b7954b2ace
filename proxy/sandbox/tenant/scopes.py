"""A request's `scope` parameter, split into a resource and permissions."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import EntraError

OPENID_SCOPES = frozenset({"openid", "profile", "email", "offline_access"})
DEFAULT = ".default"
"""All permissions that the application was given on the resource."""


@dataclass(frozen=True, slots=True)
class Scopes:
    """The one resource of a request, the permissions on it, and the scopes of OpenID Connect."""

    resource: str
    permissions: tuple[str, ...]
    openid: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> Scopes:
        """Read a `scope` parameter; EntraError 900144, 70011 or 700022.

        The resource is everything before the last slash: `https://x//.default` means the resource `https://x/`
        (Microsoft, "Scopes and permissions", trailing slash and /.default).
        """
        names = tuple(dict.fromkeys(text.split()))
        if not names:
            raise EntraError(900144, "scope")
        permissions = tuple(name.rpartition("/") for name in names if name not in OPENID_SCOPES)
        resources = {resource for resource, _, _ in permissions}
        if not all(resource and permission for resource, _, permission in permissions):
            raise EntraError(70011, text)
        if len(resources) > 1:
            raise EntraError(700022, text)
        wanted = tuple(permission for _, _, permission in permissions)
        if DEFAULT in wanted and len(wanted) > 1:
            raise EntraError(70011, text)
        return cls("".join(resources), wanted, OPENID_SCOPES.intersection(names))

    @property
    def text(self) -> str:
        """The permissions as they stood in the request, without the scopes of OpenID Connect."""
        return " ".join(f"{self.resource}/{name}" for name in self.permissions)

    @property
    def is_default(self) -> bool:
        """Whether all permissions of the application are asked for."""
        return self.permissions == (DEFAULT,)
