"""The admin listener's answers: a page, health, readiness, metrics, status, and the request to stop.

A web page of another origin gets nothing here, by the guards of the main listener, and no page at all can stop
the proxy. Beyond loopback only the probes answer: a kubelet and Prometheus come to a pod's own address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypedDict

from aiohttp import web

from .. import __version__
from ..client_aiohttp import request_head
from ..config import ListenAddress
from ..errors import ConfigError, ProxyError, RequestRefused
from ..model import is_loopback
from ..rules.guards import guard
from ..rules.listener import Listener
from .exposition import CONTENT_TYPE, Exposition
from .listener import AdminListener
from .page import SCRIPT, STYLE, Facts, page, parts, shown, title
from .sign_in import SignInApi, sign_in_state
from .watching import ServerWatch, moment

PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
"""What other machines may read, where the listener can be reached from them."""

STOP = "/quitquitquit"
"""The name that Envoy and cloud-sql-proxy gave to it, so that job templates know it."""

RELOAD = "/reload"

WRONG_SETTINGS = 422
"""The answer to a reload whose settings are refused; its text tells what is wrong, a line each."""

SECURITY_FIELDS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers send the page's own forms with Origin: null
    "X-Content-Type-Options": "nosniff",
}

LONGEST_BODY = 4096
"""Bytes; the largest body is a form with a key and two words."""

CLOSING_SECONDS = 0.1
"""How long answers of this listener get when the process ends: they are small."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
JsonObject = dict[str, object]


class Status(TypedDict):
    """What /api/status answers."""

    version: str
    ready: bool
    servers: list[JsonObject]


class AdminApplication:
    """What an AdminListener answers with, at the port that it got."""

    def __init__(self, listener: AdminListener, address: ListenAddress, port: int) -> None:
        self._listener = listener
        self._address = address
        self._names = Listener.of(address.host, port)
        self._sign_in = SignInApi(lambda: listener.watches)
        self._exposition = Exposition(listener.metrics)
        application = web.Application(middlewares=[self._guarded], client_max_size=LONGEST_BODY)
        application.on_response_prepare.append(_secure)
        application.router.add_get("/", self._page)
        application.router.add_get("/style.css", _file(STYLE, "text/css"))
        application.router.add_get("/page.js", _file(SCRIPT, "text/javascript"))
        application.router.add_get("/parts", self._parts)
        application.router.add_get("/healthz", self._health)
        application.router.add_get("/readyz", self._readiness)
        application.router.add_get("/metrics", self._counts)
        application.router.add_get("/api/status", self._status)
        application.router.add_post(STOP, self._quit)
        application.router.add_post(RELOAD, self._take_settings)
        self._sign_in.add_routes(application.router)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=CLOSING_SECONDS)

    async def start(self) -> Callable[[], asyncio.Protocol]:
        """What makes the protocol of a connection."""
        await self._runner.setup()
        assert self._runner.server is not None  # noqa: S101  (it has been set up)
        return self._runner.server

    async def close(self) -> None:
        """Answer no more."""
        await self._runner.cleanup()
        await self._sign_in.close()

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self._check(request)
            return await handler(request)
        except ProxyError as error:
            return web.Response(status=error.status, text=f"{error.message} {error.hint}".strip() + "\n")
        except web.HTTPSeeOther as elsewhere:
            return web.Response(status=elsewhere.status, headers={"Location": str(elsewhere.location)})
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
        if request.path in {STOP, RELOAD} and b"origin" in head.fields:
            raise RequestRefused("No web page may do this.", hint="Use the commands of fhir-auth-proxy.")

    async def _page(self, _: web.Request) -> web.Response:
        status = await self.status()
        text = page(status, self._with_traffic(status), self._sign_in.key)
        return web.Response(text=text, content_type="text/html")

    async def _parts(self, _: web.Request) -> web.Response:
        status = await self.status()
        return web.json_response(
            {"title": title(status), "parts": parts(self._with_traffic(status), self._sign_in.key)}
        )

    def _with_traffic(self, status: Status) -> list[Facts]:
        return [
            {**server, "traffic": shown(watch.ledger.traffic, watch.now)}
            for server, watch in zip(status["servers"], self._listener.watches, strict=True)
        ]

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def _readiness(self, _: web.Request) -> web.Response:
        whys = [why for why in await self._unready() if why]
        return web.Response(status=503 if whys else 200, text="\n".join(whys or ["ready"]) + "\n")

    async def _counts(self, _: web.Request) -> web.Response:
        if self._listener.metrics.refresh is not None:
            await self._listener.metrics.refresh()
        return web.Response(body=self._exposition.text(), headers={"Content-Type": CONTENT_TYPE})

    async def _status(self, _: web.Request) -> web.Response:
        return web.json_response(await self.status())

    async def _quit(self, _: web.Request) -> web.Response:
        self._listener.stop()
        return web.Response(text="stopping\n")

    async def _take_settings(self, _: web.Request) -> web.Response:
        if self._listener.reload is None:
            raise RequestRefused("The settings of this proxy cannot change.", hint="Start it again.")
        try:
            return web.Response(text=await self._listener.reload() + "\n")
        except ConfigError as error:
            return web.Response(status=WRONG_SETTINGS, text=f"{error.message} {error.hint}".strip() + "\n")

    async def status(self) -> Status:
        """The state of every server, for people and programs."""
        whys = await self._unready()
        servers = [
            _server_status(number, watch, why)
            for number, (watch, why) in enumerate(zip(self._listener.watches, whys, strict=True), 1)
        ]
        return {"version": __version__, "ready": not any(whys), "servers": servers}

    async def _unready(self) -> list[str]:
        return list(await asyncio.gather(*(watch.unready() for watch in self._listener.watches)))


def _server_status(number: int, watch: ServerWatch, why: str) -> JsonObject:
    who, problem = watch.identity, watch.problem
    return {
        "number": number,
        "base_url": str(watch.config.base_url),
        "local_url": watch.local_url,
        "method": watch.config.auth,
        "ready": not why,
        "why": why,
        "account": who.account,
        "application": who.application,
        "tenant": who.tenant,
        "token_valid_until": moment(who.expires_at),
        "sign_in": sign_in_state(watch),
        "warnings": [{"message": finding.message, "hint": finding.fix} for finding in watch.findings],
        "last_problem": problem
        and {"at": moment(problem.at), "message": problem.message, "hint": problem.hint},
    }


def _file(text: str, content_type: str) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(text=text, content_type=content_type)

    return answer


async def _secure(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(SECURITY_FIELDS)
    response.headers["Server"] = "fhir-auth-proxy"
