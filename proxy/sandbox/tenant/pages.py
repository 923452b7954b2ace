"""The pages that a person sees: plain forms that work without script, every text escaped.

Elements are named for programs as well: a page's `data-page`, an error's `data-code`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from html import escape
from urllib.parse import urlsplit

from aiohttp import web

from .registry import User

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:0;background:#eef1f5;color:#1b1f24}
main{max-width:26rem;margin:8vh auto;padding:2rem;background:#fff;border-radius:.5rem}
h1{font-size:1.4rem;margin-top:0}label{display:block;margin:.75rem 0 .25rem}
input{box-sizing:border-box;width:100%;padding:.5rem;font:inherit}
button{font:inherit;padding:.5rem 1rem;margin:1rem .5rem 0 0}
[role=alert]{color:#a4262c}table{font-size:.85rem;border-spacing:.5rem 0}td{vertical-align:top}
small{color:#57606a}
"""


def page(name: str, title: str, body: str, *, redirect_uri: str = "", script: str = "") -> web.Response:
    """A page under a policy that lets it do nothing but post its forms here and lead to the redirect URI.

    The redirect URI stands in form-action as well, since browsers apply it to a redirect after a form, too.
    """
    nonce = secrets.token_urlsafe(16)
    targets = " ".join(["'self'", *([_source(redirect_uri)] if redirect_uri else [])])
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; form-action {targets}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    text = (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width">'
        f'<style nonce="{nonce}">{STYLE}</style></head>'
        f'<body data-page="{name}"><main><h1>{escape(title)}</h1>{body}</main>'
        + (f'<script nonce="{nonce}">{script}</script>' if script else "")
        + "</body></html>"
    )
    fields = {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "strict-origin-when-cross-origin",
        "Cache-Control": "no-store",
    }
    return web.Response(text=text, content_type="text/html", charset="utf-8", headers=fields)


def sign_in(
    flow: str,
    application: str,
    redirect_uri: str,
    *,
    username: str,
    accounts: Iterable[str],
    known: Iterable[User],
    error: tuple[int, str] | None,
) -> web.Response:
    """Choose an account that is signed in already, or give a name and a password."""
    choices = "".join(
        f'<button name="account" value="{escape(account)}">{escape(account)}</button>' for account in accounts
    )
    rows = "".join(
        f"<tr><td>{escape(user.username)}<td>{escape(user.password)}<td>{escape(user.note)}" for user in known
    )
    body = (
        f"<p>to go on to <b>{escape(application)}</b></p>"
        + _alert(error)
        + (_form("/login", {"flow": flow}, f"<p>Signed in here:</p>{choices}") if choices else "")
        + _form(
            "/login",
            {"flow": flow},
            '<label for="username">Account</label><input id="username" name="username" '
            f'autocomplete="username" required value="{escape(username)}">'
            '<label for="password">Password</label><input id="password" name="password" type="password" '
            'autocomplete="current-password" required>'
            '<button name="choice" value="sign-in">Sign in</button>'
            '<button name="choice" value="cancel" formnovalidate>Cancel</button>',
        )
        + f"<p><small>This is a sandbox, not Microsoft. Its accounts:</small></p><table>{rows}</table>"
    )
    return page("sign-in", "Sign in", body, redirect_uri=redirect_uri)


def consent(
    flow: str, application: str, redirect_uri: str, *, username: str, permissions: str
) -> web.Response:
    """Accept or refuse what an application asks for."""
    body = (
        f"<p>{escape(username)}</p><p><b>{escape(application)}</b> would like to use:</p>"
        f"<p>{escape(permissions)}</p>"
        + _form(
            "/consent",
            {"flow": flow},
            '<button name="choice" value="accept">Accept</button>'
            '<button name="choice" value="refuse">Cancel</button>',
        )
    )
    return page("consent", "Permissions requested", body, redirect_uri=redirect_uri)


def form_post(redirect_uri: str, parameters: Mapping[str, str]) -> web.Response:
    """Carry parameters to the redirect URI (OAuth 2.0 Form Post Response Mode)."""
    body = _form(redirect_uri, parameters, "<p>Back to the application.</p><button>Continue</button>")
    return page(
        "form-post", "Signed in", body, redirect_uri=redirect_uri, script="document.forms[0].submit()"
    )


def device_code(error: tuple[int, str] | None = None) -> web.Response:
    """Enter the code that a device shows."""
    body = _alert(error) + _form(
        "/devicelogin",
        {},
        '<label for="user_code">Code shown on your device</label>'
        '<input id="user_code" name="user_code" autocomplete="off" required><button>Next</button>',
    )
    return page("device-code", "Enter code", body)


def message(name: str, title: str, text: str, error: tuple[int, str] | None = None) -> web.Response:
    """Tell something, with nothing left to do."""
    return page(name, title, (f"<p>{escape(text)}</p>" if text else "") + _alert(error))


def _alert(error: tuple[int, str] | None) -> str:
    return "" if error is None else f'<p role="alert" data-code="{error[0]}">{escape(error[1])}</p>'


def _form(action: str, hidden: Mapping[str, str], body: str) -> str:
    fields = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in hidden.items()
    )
    return f'<form method="post" action="{escape(action)}">{fields}{body}</form>'


def _source(uri: str) -> str:
    """A URI as a source of a Content-Security-Policy: its origin, or its scheme where that is not http."""
    parts = urlsplit(uri)
    if parts.scheme not in {"http", "https"}:
        return f"{parts.scheme}:"
    port = "" if parts.port is None else f":{parts.port}"
    return f"{parts.scheme}://{parts.hostname}{port}"
