"""What must hold between settings, as one table: each row looks at values that are right by themselves.

A check's answer is a phrase that follows the value of its first key, or None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .settings import SETTINGS, AuthMethod, ServerConfig
from .values import TOKEN_CACHES

ALTERNATIVES = (
    ("token", "token_file"),
    ("key", "key_file"),
    ("client_secret", "client_secret_file"),
    ("client_certificate_password", "client_certificate_password_file"),
    ("authority", "authority_host"),
    ("token_cache_key", "token_cache_key_file"),
)
"""Two ways to say one thing: the stronger layer's counts, and one layer cannot say both."""

NEEDS: Mapping[AuthMethod, tuple[tuple[str, ...], ...]] = MappingProxyType(
    {
        # A secret never goes to a tenant that a server's challenge names: that server could be anyone's.
        "client-secret": (("client_id",), ("client_secret", "client_secret_file"), ("tenant", "authority")),
        "client-certificate": (("client_id",), ("client_certificate_file",), ("tenant", "authority")),
        "workload-identity": (
            ("client_id",),
            ("federated_token_file", "github_token_url"),
            ("tenant", "authority"),
        ),
        "token": (("token_file", "token"),),
        "command": (("command",),),
    }
)
"""What each method cannot do without: of each group one."""


@dataclass(frozen=True, slots=True)
class Check:
    """One row: the settings that it reads, the first of which it blames, and what it finds."""

    keys: tuple[str, ...]
    find: Callable[[ServerConfig], str | None]


def _give(*keys: str) -> str:
    """How to give settings, under each of their names that there is."""
    names = (
        f"{key} ({', '.join(name for name in (SETTINGS[key].flag, SETTINGS[key].variable) if name)})"
        for key in keys
    )
    return " or ".join(names)


def _https_for_tokens(server: ServerConfig) -> str | None:
    if server.auth == "anonymous" or server.base_url.scheme == "https" or server.base_url.is_loopback:
        return None
    return (
        'is not https, and a token sent to it could be read on the way; use https, or auth = "anonymous" '
        "if the server asks for none"
    )


def _https_for_sign_in(server: ServerConfig) -> str | None:
    if server.authority is None or server.authority.scheme == "https":
        return None
    return "is not https, and a sign-in could be read on the way"


def _authority_names_tenant(server: ServerConfig) -> str | None:
    if server.authority is None or server.authority.path:
        return None
    return f"names no tenant; write {server.authority}/TENANT"


def _remote_is_meant(server: ServerConfig) -> str | None:
    if server.listen.is_loopback or (server.allow_remote and server.allowed_hosts):
        return None
    missing = [
        text
        for given, text in (
            (server.allow_remote, _give("allow_remote")),
            (
                server.allowed_hosts,
                f"the names by which tools call it in {_give('allowed_hosts')}",
            ),
        )
        if not given
    ]
    return (
        "can be reached from other machines, and whoever reaches it acts as you on the server; if you mean "
        f"that, set {' and '.join(missing)}"
    )


def _no_loop(server: ServerConfig) -> str | None:
    if server.listen.path or not (server.base_url.is_loopback and server.listen.is_loopback):
        return None
    if server.base_url.scheme == "https" or server.base_url.port != server.listen.port:
        return None
    return f"is the listener's own port ({server.listen}): the proxy would call itself"


def _method_has_its_settings(server: ServerConfig) -> str | None:
    missing = [
        _give(*(key for key in keys if key != "authority"))  # which is for sandboxes and private clouds
        for keys in NEEDS.get(server.auth, ())
        if not any(getattr(server, key) for key in keys)
    ]
    return f"needs {', and '.join(missing)}" if missing else None


def _github_is_whole(server: ServerConfig) -> str | None:
    if bool(server.github_token_url) == (server.github_token is not None):
        return None
    return (
        "needs the other of GitHub's two variables, ACTIONS_ID_TOKEN_REQUEST_URL and "
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
    )


def _machine_is_one_identity(server: ServerConfig) -> str | None:
    if server.auth != "managed-identity":
        return None
    names = ("client_id", "managed_identity_resource_id", "managed_identity_object_id")
    given = [name for name in names if getattr(server, name)]
    if len(given) < 2:
        return None
    return f"names its identity by {' and by '.join(given)} (AZURE_CLIENT_ID is a client_id too); keep one"


def _organization_signs_in(server: ServerConfig) -> str | None:
    if server.auth != "anonymous" or not server.require_organizational_account:
        return None
    return "is true, and anonymous is no account; name another way to sign in, or leave it to auto"


def _redirect_needs_browser(server: ServerConfig) -> str | None:
    if not server.redirect_port or server.auth in {"auto", "interactive"}:
        return None
    return (
        f'has no use with auth = "{server.auth}", which opens no browser; leave it out, or use "interactive"'
    )


def _redirect_is_not_listener(server: ServerConfig) -> str | None:
    if server.listen.path or not server.redirect_port or server.redirect_port != server.listen.port:
        return None
    return f"is the listener's own port ({server.listen}); give the sign-in another one"


def _redis_has_key(server: ServerConfig) -> str | None:
    if server.token_cache in TOKEN_CACHES or server.token_cache_key or server.token_cache_key_file:
        return None
    return f"needs a key that seals what is kept there: {_give('token_cache_key_file', 'token_cache_key')}"


ONE_TOKEN: frozenset[AuthMethod] = frozenset({"anonymous", "token", "command"})
"""Methods that can have no second token, for another audience than the server's."""


def _storage_has_tokens(server: ServerConfig) -> str | None:
    if not server.export_storage or server.auth not in ONE_TOKEN:
        return None
    return f'needs a token of its own, which auth = "{server.auth}" cannot obtain; sign in in another way'


def _storage_is_another_server(server: ServerConfig) -> str | None:
    if server.base_url.authority not in server.export_storage:
        return None
    return "names the server itself, whose files come through the proxy anyway; leave it out"


CHECKS = (
    Check(("base_url", "auth"), _https_for_tokens),
    Check(("base_url", "listen"), _no_loop),
    Check(("listen", "allow_remote", "allowed_hosts"), _remote_is_meant),
    Check(("authority",), _https_for_sign_in),
    Check(("authority",), _authority_names_tenant),
    Check(
        ("auth", *dict.fromkeys(key for needs in NEEDS.values() for keys in needs for key in keys)),
        _method_has_its_settings,
    ),
    Check(("github_token_url", "github_token"), _github_is_whole),
    Check(
        ("auth", "client_id", "managed_identity_resource_id", "managed_identity_object_id"),
        _machine_is_one_identity,
    ),
    Check(("require_organizational_account", "auth"), _organization_signs_in),
    Check(("token_cache", "token_cache_key", "token_cache_key_file"), _redis_has_key),
    Check(("redirect_port", "auth"), _redirect_needs_browser),
    Check(("redirect_port", "listen"), _redirect_is_not_listener),
    Check(("export_storage", "auth"), _storage_has_tokens),
    Check(("export_storage", "base_url"), _storage_is_another_server),
)
