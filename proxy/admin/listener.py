"""The admin listener's answers: a page, health, readiness, metrics, status, and the request to stop.

A web page of another origin gets nothing here, by the guards of the main listener, and no page at all can stop
the proxy. Beyond loopback only the probes answer: a kubelet and Prometheus come to a pod's own address.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from aiohttp import web

from .. import __version__
from ..client_requests import request_head
from ..config import ListenAddress
from ..errors import ProxyError, RequestRefused
from ..model import is_loopback
from ..rules.guards import Listener, guard
from .metrics import CONTENT_TYPE, Metrics
from .page import STYLE, page
from .watching import ServerWatch, moment

PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
"""What other machines may read, where the listener can be reached from them."""

STOP = "/quitquitquit"
"""The name that Envoy and cloud-sql-proxy gave to it, so that job templates know it."""

SECURITY_FIELDS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

CLOSING_SECONDS = 0.1
"""How long answers of this listener get when the process ends: they are small."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
JsonObject = dict[str, object]


class AdminListener:
    """Answers for all servers of the process; `stop` is called when somebody asks it to end."""

    def __init__(self, watches: Sequence[ServerWatch], metrics: Metrics, stop: Callable[[], None]) -> None:
        self._watches = watches
        self._metrics = metrics
        self._stop = stop
        self._address = ListenAddress("localhost", 0)
        self._names = Listener.of("localhost", 0)
        self._runner: web.AppRunner | None = None

    async def start(self, address: ListenAddress, sockets: Sequence[socket.socket]) -> str:
        """Answer on sockets that are bound to `address`; the URL of the listener."""
        port = sockets[0].getsockname()[1]
        self._address = address
        self._names = Listener.of(address.host, port)
        application = web.Application(middlewares=[self._guarded])
        application.on_response_prepare.append(_secure)
        application.router.add_get("/", self._page)
        application.router.add_get("/style.css", self._style)
        application.router.add_get("/healthz", self._health)
        application.router.add_get("/readyz", self._readiness)
        application.router.add_get("/metrics", self._counts)
        application.router.add_get("/api/status", self._status)
        application.router.add_post(STOP, self._quit)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=CLOSING_SECONDS)
        await self._runner.setup()
        for bound in sockets:
            await web.SockSite(self._runner, bound).start()
        return f"http://{ListenAddress(address.host, port)}"

    async def close(self) -> None:
        """Answer no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self._check(request)
            return await handler(request)
        except ProxyError as error:
            return web.Response(status=error.status, text=f"{error.message} {error.hint}".strip() + "\n")
        except web.HTTPException as refusal:
            return web.Response(status=refusal.status, text=f"{refusal.reason}\n")

    def _check(self, request: web.Request) -> None:
        head, names = request_head(request), self._names
        if not self._address.is_loopback and request.path in PROBES:
            # Whatever they call the pod is right; a web page is still none of those who may ask.
            names = replace(
                names, authorities=names.authorities.union(map(bytes.lower, head.fields.get_all(b"host")))
            )
        elif not is_loopback(request.remote or ""):
            raise RequestRefused("This is for the machine of the proxy alone.")
        guard(head, names)
        if request.method == "POST" and b"origin" in head.fields:
            raise RequestRefused("No web page may do this.", hint="Use fhir-auth-proxy stop.")

    async def _page(self, _: web.Request) -> web.Response:
        return web.Response(text=page(await self.status()), content_type="text/html")

    async def _style(self, _: web.Request) -> web.Response:
        return web.Response(text=STYLE, content_type="text/css")

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def _readiness(self, _: web.Request) -> web.Response:
        whys = [why for why in await self._unready() if why]
        return web.Response(status=503 if whys else 200, text="\n".join(whys or ["ready"]) + "\n")

    async def _counts(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def _status(self, _: web.Request) -> web.Response:
        return web.json_response(await self.status())

    async def _quit(self, _: web.Request) -> web.Response:
        self._stop()
        return web.Response(text="stopping\n")

    async def status(self) -> JsonObject:
        """The state of every server, for people and programs."""
        whys = await self._unready()
        servers = [_server_status(watch, why) for watch, why in zip(self._watches, whys, strict=True)]
        return {"version": __version__, "ready": not any(whys), "servers": servers}

    async def _unready(self) -> list[str]:
        return list(await asyncio.gather(*(watch.unready() for watch in self._watches)))


def _server_status(watch: ServerWatch, why: str) -> JsonObject:
    who, problem = watch.identity, watch.problem
    return {
        "base_url": str(watch.config.base_url),
        "local_url": watch.local_url,
        "method": watch.config.auth,
        "ready": not why,
        "why": why,
        "account": who.account,
        "application": who.application,
        "tenant": who.tenant,
        "token_valid_until": moment(who.expires_at),
        "last_problem": problem
        and {"at": moment(problem.at), "message": problem.message, "hint": problem.hint},
    }


async def _secure(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(SECURITY_FIELDS)
    response.headers["Server"] = "fhir-auth-proxy"
