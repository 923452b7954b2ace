"""Sign in with the browser: authorization code with PKCE (RFC 8252, RFC 7636)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..config import ServerConfig
from ..errors import ProxyError
from ..tcp_listener import LOOPBACK_ADDRESSES
from .entra import Entra
from .flows import CodeFlow, Invitation, Start
from .person import Announce
from .seams import Browser
from .sources import AccessToken
from .threads import in_thread

if TYPE_CHECKING:
    from .receiver import Receiver


class BrowserWay:
    """The way over the browser of this machine, or of any that reaches the receiver.

    A browser is opened by itself once; after a sign-in that nobody completed the address is only shown, or a
    tool that keeps asking would fill an unattended screen with windows.
    """

    def __init__(self, config: ServerConfig, browser: Browser, entra: Entra) -> None:
        # Inside a container, what is published does not arrive on loopback.
        is_published = config.allow_remote and config.redirect_port and not config.listen.is_loopback
        self._hosts = (config.listen.host,) if is_published else LOOPBACK_ADDRESSES
        self._port = config.redirect_port
        self._browser = browser
        self._entra = entra
        self._browser_is_wanted = True

    async def sign_in(self, start: Start, announce: Announce) -> AccessToken:
        """The token of whoever signs in."""
        receiver = (await in_thread(_receivers))(self._hosts, self._port)
        await receiver.start()
        opening = None
        try:
            flow = await self._entra.code_flow(receiver.redirect_uri, other_account=start.other_account)
            answer = receiver.answer(flow.url, flow.state)
            announce(_invitation("Sign in with the browser", receiver))
            if self._browser_is_wanted and not start.is_called_for:
                self._browser_is_wanted = False
                opening = asyncio.create_task(self._open(receiver, announce))
            token = await self._redeemed(flow, await answer, receiver)
        finally:
            if opening is not None:
                opening.cancel()
            await receiver.close()
        self._browser_is_wanted = True
        return token

    async def _redeemed(self, flow: CodeFlow, answer: Mapping[str, str], receiver: Receiver) -> AccessToken:
        try:
            token = await self._entra.redeemed(flow, answer)
        except ProxyError as error:
            receiver.conclude("Sign-in failed", f"{error.message} {error.hint}")
            raise
        receiver.conclude("Signed in", f"{self._entra.account_name} is signed in. You may close this window.")
        return token

    async def _open(self, receiver: Receiver, announce: Announce) -> None:
        """Open the browser off the loop: the command in BROWSER may wait until its window is closed."""
        if not await in_thread(lambda: self._browser.open(receiver.redirect_uri)):
            announce(_invitation("No browser could be opened here. Sign in with one", receiver))


def _invitation(words: str, receiver: Receiver) -> Invitation:
    return Invitation(f"{words} at {receiver.redirect_uri}", receiver.redirect_uri, method="interactive")


def _receivers() -> type[Receiver]:
    from .receiver import Receiver  # noqa: PLC0415  it brings aiohttp, 0.1 s, and few sign in by a browser

    return Receiver
