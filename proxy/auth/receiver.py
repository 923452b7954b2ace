"""Where the browser comes back after a sign-in: a listener on loopback that lives as long as one sign-in.

Entra ID sends the answer as a form (OAuth 2.0 Form Post Response Mode) or as a query; both are taken. Whoever
calls the address without an answer is led to the sign-in page, so that this short address is what people are
shown, and neither a log nor a list of processes holds the long one.
"""

from __future__ import annotations

import asyncio
import errno
import hmac
from collections.abc import Mapping, Sequence
from html import escape

from aiohttp import web

from ..errors import ConfigError
from ..tcp_listener import LOOPBACK_ADDRESSES

FREE_PORT_ATTEMPTS = 8
"""A port that is free on 127.0.0.1 is rarely taken on ::1."""

MAX_ANSWER = 64 * 1024
"""Bytes of the form; a code has about 2 KiB."""

CLOSING_TIME = 2.0
"""Seconds that the last page has to reach the browser."""

_PAGE_FIELDS = {
    "Cache-Control": "no-store",
    "Connection": "close",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Receiver:
    """Listens at `redirect_uri` until closed; takes one answer, the one that carries the right state."""

    def __init__(self, hosts: Sequence[str] = LOOPBACK_ADDRESSES, port: int = 0) -> None:
        self._hosts = hosts
        self._port = port
        self._runner: web.AppRunner | None = None
        self._sign_in_url = ""
        self._state = ""
        self._answer: asyncio.Future[Mapping[str, str]] | None = None
        self._outcome: asyncio.Future[tuple[str, str]] | None = None

    @property
    def redirect_uri(self) -> str:
        """What is registered as `http://localhost`; Entra ID ignores the port (RFC 8252 section 7.3)."""
        return f"http://localhost:{self._port}"

    async def start(self) -> None:
        """Listen. ConfigError where the fixed port is taken."""
        if self._port:
            if not await self._listens(self._port):
                raise ConfigError(
                    f"redirect_port = {self._port} is taken by another program",
                    hint="Set another --redirect-port, or 0 for a free one.",
                )
            return
        for _attempt in range(FREE_PORT_ATTEMPTS):
            if await self._listens(0):
                return
        raise ConfigError(
            f"No port is free on {' and '.join(self._hosts)} for the sign-in",
            hint="Set --redirect-port to one that is free.",
        )

    def answer(self, sign_in_url: str, state: str) -> asyncio.Future[Mapping[str, str]]:
        """What the browser will bring back from the sign-in page: `code` or `error`, with the right state."""
        loop = asyncio.get_running_loop()
        self._outcome, self._answer = loop.create_future(), loop.create_future()
        self._sign_in_url, self._state = sign_in_url, state
        return self._answer

    def conclude(self, title: str, text: str) -> None:
        """Tell the person how it ended, on the page that the browser waits for."""
        if self._outcome is not None and not self._outcome.done():
            self._outcome.set_result((title, text))

    async def close(self) -> None:
        """Stop listening, after the last page has gone out."""
        self.conclude("Sign-in ended", "This sign-in is over. You may close this window.")
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _listens(self, port: int) -> bool:
        """Listen on every host of this machine, with one port; False where another program has it."""
        application = web.Application(client_max_size=MAX_ANSWER)
        application.router.add_route("GET", "/", self._serve)
        application.router.add_route("POST", "/", self._serve)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=CLOSING_TIME)
        await runner.setup()
        try:
            for host in self._hosts:
                try:
                    await web.TCPSite(runner, host, port).start()
                except OSError as error:
                    if error.errno == errno.EADDRINUSE or host == self._hosts[0]:
                        raise
                    continue  # IPv6 is switched off here, so `localhost` means 127.0.0.1 alone
                port = int(runner.addresses[0][1])
        except OSError as error:
            await runner.cleanup()
            if error.errno == errno.EADDRINUSE:
                return False
            raise ConfigError(
                f"The sign-in cannot listen on {' and '.join(self._hosts)}, port {port or 'any'}: "
                f"{error.strerror or error}",
                hint="Set --redirect-port to a port above 1023.",
            ) from error
        self._runner, self._port = runner, port
        return True

    async def _serve(self, request: web.Request) -> web.Response:
        if request.host not in {f"{name}:{self._port}" for name in ("localhost", "127.0.0.1", "[::1]")}:
            return _page(421, "Wrong address", f"This is {self.redirect_uri}.")  # DNS rebinding
        if self._answer is None or self._outcome is None:
            return _page(503, "Not ready", "The sign-in has not begun yet. Reload this page.")
        form = request.query if request.method == "GET" else await request.post()
        answer = {name: value for name, value in form.items() if isinstance(value, str)}
        if not answer.keys() & {"code", "error"}:
            if request.method == "GET" and not self._answer.done():
                return web.Response(
                    status=302, headers={"Location": self._sign_in_url, "Cache-Control": "no-store"}
                )
            return _page(400, "Nothing to do", "This carries no answer to a sign-in.")
        if not hmac.compare_digest(answer.get("state", "").encode(), self._state.encode()):
            return _page(400, "Not our sign-in", "This is the answer to another sign-in. Start again.")
        if self._answer.done():
            return _page(400, "Already signed in", "This sign-in is over. You may close this window.")
        self._answer.set_result(answer)
        return _page(200, *await asyncio.shield(self._outcome))


def _page(status: int, title: str, text: str) -> web.Response:
    body = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title></head><body><h1>{escape(title)}</h1><p>{escape(text)}</p></body></html>"
    )
    return web.Response(
        status=status, text=body, content_type="text/html", charset="utf-8", headers=_PAGE_FIELDS
    )
