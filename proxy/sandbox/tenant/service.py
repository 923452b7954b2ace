"""The tenant on its socket: routes, faults, records, and the start and stop of it all."""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import TracebackType
from typing import Self

from aiohttp import web

from ..certificates import CertificateAuthority
from . import pages
from .authority import Authority, Lifetimes
from .authorize import AuthorizeEndpoint
from .calls import Call, RequestRecord
from .device import DeviceEndpoint
from .discovery import DiscoveryEndpoint
from .errors import EntraError
from .fault_answers import in_place_of_work, with_retry_after
from .faults import Endpoint, Fault, Faults, Lifetime, Refusal
from .grants import Clock
from .managed_identity import IdentityEndpoint, MachineIdentity
from .population import CLINIC, POPULATION
from .registry import Directory, Registration, Registry
from .sign_in import SignIns
from .token_endpoint import TokenEndpoint
from .tokens import Claims

Answer = Callable[[Call], Awaitable[web.StreamResponse]]

REMEMBERED_REQUESTS = 10_000
"""A sandbox may run for days; tests look at the last few."""
PAGE_ENDPOINTS = frozenset({Endpoint.AUTHORIZE, Endpoint.SIGN_IN, Endpoint.CONSENT, Endpoint.DEVICE_PAGE})
"""Where an error is told to a person and not to a program."""


class Tenant:
    """An Entra-like tenant; `async with Tenant() as tenant` starts it on a free port of 127.0.0.1.

    All is to be used from the event loop in which it was started. `directory` is the one that `authority`,
    `issuer` and `verify` mean; the others of the registry are served as well. `clock` gives seconds since the
    epoch; a clock far from the real one makes clients' assertions look stale. `hostname` is the name in all
    URLs and in the certificate.
    """

    def __init__(
        self,
        *,
        registry: Registry = POPULATION,
        directory: Directory = CLINIC,
        certificates: CertificateAuthority | None = None,
        clock: Clock = time.time,
        lifetimes: Lifetimes | None = None,
        hostname: str = "localhost",
    ) -> None:
        self.faults = Faults()
        self.requests: deque[RequestRecord] = deque(maxlen=REMEMBERED_REQUESTS)
        """The requests that came, oldest first, each from the moment of its arrival."""
        self.lifetimes = lifetimes or Lifetimes()
        """May be changed at any time."""
        self.certificates = certificates or CertificateAuthority.create()
        self._directory = directory
        self._hostname = hostname
        self._authority = Authority(registry, clock, self.lifetimes)
        self._runner: web.AppRunner | None = None

    @property
    def registry(self) -> Registry:
        """What is registered now."""
        return self._authority.registry

    @property
    def ca_pem(self) -> bytes:
        """The certificate that clients of the tenant must trust, as PEM."""
        return self.certificates.ca_pem

    @property
    def origin(self) -> str:
        """`https://localhost:PORT`; an authority is this and a directory, `organizations` or `common`."""
        return self._authority.origin

    @property
    def tenant_id(self) -> str:
        """The directory's GUID."""
        return self._directory.id

    @property
    def authority(self) -> str:
        """What applications are given as their authority."""
        return f"{self.origin}/{self.tenant_id}"

    @property
    def issuer(self) -> str:
        """The `iss` of the directory's version 1 tokens, those of FHIR resources."""
        return self._authority.issuer(self.tenant_id, 1)

    @property
    def token_requests(self) -> tuple[RequestRecord, ...]:
        """The requests to the token endpoint."""
        return tuple(record for record in self.requests if record.endpoint is Endpoint.TOKEN)

    def register(self, *registrations: Registration) -> None:
        """Add registrations; one with a known key takes the other's place, from the next request on."""
        self._authority.registry = self._authority.registry.including(*registrations)

    def revoke(self, username: str) -> None:
        """End all sessions of a user: each of their refresh tokens is refused with 50173."""
        self._authority.revoke(username)

    def withdraw_consents(self) -> None:
        """Forget what users consented to: applications that aren't pre-authorized get 65001."""
        self._authority.withdraw_consents()

    def verify(self, token: str, audience: str, directory: Directory | None = None) -> Claims:
        """Check an access token as a resource server does; InvalidToken says why it must be refused.

        Checked are the signature, the issuer (both versions of one directory), the audience, exactly, and
        the time, without leeway. What the token permits is left to the caller.
        """
        return self._authority.verify(token, audience, (directory or self._directory).id)

    def identity_endpoint(self, *identities: MachineIdentity) -> IdentityEndpoint:
        """The endpoint of a machine with these identities; started and closed by whoever asks for it."""
        return IdentityEndpoint(self._authority, self._directory, identities, self.faults)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; with port 0 on a free one. OSError where the port is taken."""
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=1)
        await runner.setup()
        self._runner = runner
        try:
            context = self.certificates.server_context(self._hostname)
            site = web.TCPSite(runner, host, port, ssl_context=context)
            await site.start()
            port = int(runner.addresses[0][1])
            self._authority.origin = f"https://{self._hostname}:{port}"
            if host == "127.0.0.1":
                await self._listen_on_ipv6(runner, port)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Stop listening; whoever hangs is let go."""
        self.faults.clear()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _listen_on_ipv6(self, runner: web.AppRunner, port: int) -> None:
        """Answer on ::1 too, if there is one: clients try it first for localhost; Windows makes them wait."""
        if not socket.has_ipv6:
            return
        context = self.certificates.server_context(self._hostname)
        try:
            await web.TCPSite(runner, "::1", port, ssl_context=context).start()
        except OSError:
            return  # IPv6 is switched off here, or the port is another's: then localhost means 127.0.0.1

    def _application(self) -> web.Application:
        authority = self._authority
        sign_ins = SignIns(authority)
        discovery, token = DiscoveryEndpoint(authority), TokenEndpoint(authority)
        authorize, device = AuthorizeEndpoint(authority, sign_ins), DeviceEndpoint(authority, sign_ins)

        async def sign_in(call: Call) -> web.Response:
            return sign_ins.sign_in(call)

        async def consent(call: Call) -> web.Response:
            return sign_ins.consent(call)

        routes: tuple[tuple[str, str, Endpoint, Answer], ...] = (
            (
                "GET",
                "/{tenant}/.well-known/openid-configuration",
                Endpoint.CONFIGURATION,
                discovery.version_1,
            ),
            (
                "GET",
                "/{tenant}/v2.0/.well-known/openid-configuration",
                Endpoint.CONFIGURATION,
                discovery.version_2,
            ),
            ("GET", "/{tenant}/discovery/keys", Endpoint.KEYS, discovery.keys),
            ("GET", "/{tenant}/discovery/v2.0/keys", Endpoint.KEYS, discovery.keys),
            ("GET", "/{tenant}/oauth2/v2.0/authorize", Endpoint.AUTHORIZE, authorize.answer),
            ("POST", "/{tenant}/oauth2/v2.0/devicecode", Endpoint.DEVICE_CODE, device.code),
            ("POST", "/{tenant}/oauth2/v2.0/token", Endpoint.TOKEN, token.answer),
            ("POST", "/login", Endpoint.SIGN_IN, sign_in),
            ("POST", "/consent", Endpoint.CONSENT, consent),
            ("GET", "/devicelogin", Endpoint.DEVICE_PAGE, device.page),
            ("POST", "/devicelogin", Endpoint.DEVICE_PAGE, device.page),
        )
        application = web.Application()
        for method, path, endpoint, answer in routes:
            application.router.add_route(method, path, self._served(endpoint, answer))
        return application

    def _served(
        self, endpoint: Endpoint, answer: Answer
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def serve(request: web.Request) -> web.StreamResponse:
            correlation_id = request.headers.get("client-request-id", "")
            try:
                call = await Call.read(endpoint, request)
                self.requests.append(call.record)
                return await self._meet(self.faults.take(endpoint), call, request, answer)
            except EntraError as error:
                return self._refused(endpoint, error, correlation_id)

        return serve

    async def _meet(
        self, fault: Fault | None, call: Call, request: web.Request, answer: Answer
    ) -> web.StreamResponse:
        """Do what the fault says, and the work where it leaves that to do."""
        match fault:
            case Refusal():
                refused = self._refused(
                    call.endpoint, EntraError(fault.code, fault.subject), call.correlation_id
                )
                return with_retry_after(refused, fault.retry_after)
            case Lifetime():
                return await answer(replace(call, lifetime=fault.seconds))
        response = await in_place_of_work(fault, request)
        return await answer(call) if response is None else response

    def _refused(self, endpoint: Endpoint, error: EntraError, correlation_id: str) -> web.Response:
        if endpoint not in PAGE_ENDPOINTS:
            body = error.answer(self._authority.clock(), correlation_id)
            return web.json_response(body, status=error.kind.status, headers={"Cache-Control": "no-store"})
        response = pages.message("error", "Sign-in failed", "", (error.code, error.text))
        response.set_status(error.kind.status)
        return response
