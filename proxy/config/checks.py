"""What must hold between settings, as one table: each row looks at values that are right by themselves.

A check's answer is a phrase that follows the value of its first key, or None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .settings import SETTINGS, ServerConfig

ALTERNATIVES = (
    ("token", "token_file"),
    ("client_secret", "client_secret_file"),
    ("authority", "authority_host"),
)
"""Two ways to say one thing: the stronger layer's counts, and one layer cannot say both."""


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
    if not (server.base_url.is_loopback and server.listen.is_loopback):
        return None
    if server.base_url.scheme == "https" or server.base_url.port != server.listen.port:
        return None
    return f"is the listener's own port ({server.listen}): the proxy would call itself"


def _secret_has_identity(server: ServerConfig) -> str | None:
    if server.auth != "client-secret":
        return None
    missing = [
        text
        for given, text in (
            (server.client_id, _give("client_id")),
            (server.client_secret or server.client_secret_file, _give("client_secret", "client_secret_file")),
            # A secret never goes to a tenant that a server's challenge names: that server could be anyone's.
            (server.tenant or server.authority, _give("tenant")),
        )
        if not given
    ]
    return f"needs {', and '.join(missing)}" if missing else None


def _token_is_given(server: ServerConfig) -> str | None:
    if server.auth != "token" or server.token or server.token_file:
        return None
    return f"needs {_give('token_file', 'token')}"


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
    if not server.redirect_port or server.redirect_port != server.listen.port:
        return None
    return f"is the listener's own port ({server.listen}); give the sign-in another one"


CHECKS = (
    Check(("base_url", "auth"), _https_for_tokens),
    Check(("base_url", "listen"), _no_loop),
    Check(("listen", "allow_remote", "allowed_hosts"), _remote_is_meant),
    Check(("authority",), _https_for_sign_in),
    Check(("authority",), _authority_names_tenant),
    Check(
        ("auth", "client_id", "client_secret", "client_secret_file", "tenant", "authority"),
        _secret_has_identity,
    ),
    Check(("auth", "token", "token_file"), _token_is_given),
    Check(("require_organizational_account", "auth"), _organization_signs_in),
    Check(("redirect_port", "auth"), _redirect_needs_browser),
    Check(("redirect_port", "listen"), _redirect_is_not_listener),
)
