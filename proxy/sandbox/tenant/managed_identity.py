"""A managed identity's endpoint, as a machine in Azure has one: plain HTTP on a socket of its own.

Sources: Microsoft, "How to use managed identities on an Azure VM to acquire an access token" (IMDS) and "How
to use managed identities for App Service and Azure Functions", REST endpoint reference.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from aiohttp import web

from .authority import Authority
from .errors import EntraError
from .fault_answers import in_place_of_work
from .faults import Endpoint, Faults
from .issuing import ASSERTION, Issuing, Wish
from .registry import Client, Directory
from .scopes import DEFAULT, Scopes

IMDS_PATH = "/metadata/identity/oauth2/token"
APP_SERVICE_PATH = "/msi/token"
PARAMETERS = frozenset({"client_id", "object_id", "msi_res_id", "mi_res_id"})
"""How a user-assigned identity is named; the last name is App Service's."""


@dataclass(frozen=True, slots=True)
class MachineIdentity:
    """One identity of a machine: the system's where `resource_id` is empty, otherwise a user-assigned one."""

    client: Client
    resource_id: str = ""


class IdentityEndpoint:
    """Hands out the tokens of a machine's identities; `async with` starts it on a free port of 127.0.0.1."""

    def __init__(
        self,
        authority: Authority,
        directory: Directory,
        identities: tuple[MachineIdentity, ...],
        faults: Faults,
    ) -> None:
        self.url = ""
        """`http://127.0.0.1:PORT`, which AZURE_POD_IDENTITY_AUTHORITY_HOST takes."""
        self.header = secrets.token_hex(16)
        """What IDENTITY_HEADER takes."""
        self.requests: list[Mapping[str, str]] = []
        """The parameters of each request that came."""
        self._authority = authority
        self._issuing = Issuing(authority)
        self._directory = directory
        self._identities = identities
        self._faults = faults
        self._runner: web.AppRunner | None = None

    @property
    def app_service_url(self) -> str:
        """What IDENTITY_ENDPOINT takes."""
        return self.url + APP_SERVICE_PATH

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; OSError where the port is taken."""
        application = web.Application(middlewares=[self._meet])
        application.router.add_get(IMDS_PATH, self._imds)
        application.router.add_get(APP_SERVICE_PATH, self._app_service)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.url = f"http://{host}:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        """Stop listening."""
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

    @web.middleware
    async def _meet(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Do what a fault says, otherwise the work."""
        response = await in_place_of_work(self._faults.take(Endpoint.MACHINE), request)
        if response is None:
            return await handler(request)
        self.requests.append(dict(request.query))
        return response

    async def _imds(self, request: web.Request) -> web.Response:
        """Texts where one would expect numbers, as IMDS answers."""
        if request.headers.get("Metadata", "").lower() != "true":
            return _refused("invalid_request", "Required metadata header not specified")
        try:
            answer = self._token(dict(request.query))
        except EntraError as error:
            return _refused("invalid_resource", error.text)
        if answer is None:
            return _refused("invalid_request", "Identity not found")
        return web.json_response({**answer, "refresh_token": ""})

    async def _app_service(self, request: web.Request) -> web.Response:
        """No `expires_in`, and refusals without OAuth's names, as App Service answers."""
        if not secrets.compare_digest(request.headers.get("X-IDENTITY-HEADER", ""), self.header):
            return web.json_response(
                {"statusCode": 401, "message": "The header is missing or wrong."}, status=401
            )
        try:
            answer = self._token(dict(request.query))
        except EntraError as error:
            return web.json_response({"statusCode": 500, "message": error.text}, status=500)
        if answer is None:
            message = "No managed identity was found for the specified id."
            return web.json_response({"statusCode": 400, "message": message}, status=400)
        return web.json_response({name: value for name, value in answer.items() if name != "expires_in"})

    def _token(self, query: Mapping[str, str]) -> dict[str, object] | None:
        """A token for the identity that a query names; None where the machine has none of that name."""
        self.requests.append(query)
        identity = next((one for one in self._identities if self._is_named(one, query)), None)
        if identity is None:
            return None
        resource = query.get("resource", "")
        wish = Wish(Scopes.parse(f"{resource}/{DEFAULT}"))
        issued = self._issuing.to_application(identity.client, self._directory, wish, ASSERTION)
        expires_in = int(str(issued["expires_in"]))
        return {
            "access_token": issued["access_token"],
            "client_id": identity.client.client_id,
            "expires_in": str(expires_in),
            "expires_on": str(int(self._authority.clock()) + expires_in),
            "resource": resource,
            "token_type": "Bearer",
        }

    def _is_named(self, identity: MachineIdentity, query: Mapping[str, str]) -> bool:
        wanted = {name: query[name] for name in PARAMETERS & query.keys()}
        if not wanted:
            return not identity.resource_id
        names = {
            "client_id": identity.client.client_id,
            "object_id": identity.client.object_id(self._directory.id),
            "msi_res_id": identity.resource_id,
            "mi_res_id": identity.resource_id,
        }
        return bool(identity.resource_id) and all(names[name] == value for name, value in wanted.items())


def _refused(error: str, description: str) -> web.Response:
    return web.json_response({"error": error, "error_description": description}, status=400)
