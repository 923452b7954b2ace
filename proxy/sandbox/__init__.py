"""An Entra-like tenant and a small FHIR server on real sockets: what `demo`, `sandbox` and the tests run against.

    async with Sandbox() as sandbox:
        ...  # a proxy for sandbox.fhir.base_url that signs in at sandbox.tenant.authority

Nothing here imports anything of the proxy: it is the other side, and must not share the proxy's mistakes.
"""

from __future__ import annotations

import contextlib
import ssl
from types import TracebackType
from typing import Self

from .fhir import FhirServer
from .storage import AUDIENCE, StorageAccount
from .tenant import DESKTOP, SERVICE, InvalidToken, Resource, Tenant

__all__ = ["Sandbox"]


class Sandbox:
    """A tenant and a FHIR server that takes its tokens.

    `is_open` leaves the server without any sign-in. `audience` is what the server expects in tokens, its base
    URL where it is empty; both are registered, so that a token for the wrong one can be had and is refused.
    The server speaks plain HTTP on loopback unless `is_tls`; the tenant always speaks TLS, as MSAL demands.
    With `has_storage` the files of exports lie in a storage account beside the server, which takes other tokens.
    """

    def __init__(
        self,
        *,
        patients: int = 300,
        base_path: str = "",
        spelling: str = "plain",
        alias: str = "",
        audience: str = "",
        is_open: bool = False,
        is_tls: bool = False,
        compress: bool = True,
        has_storage: bool = False,
    ) -> None:
        self.tenant = Tenant()
        self.storage: StorageAccount | None = None
        if has_storage:
            self.storage = StorageAccount(self.tenant.verify, refusals=(InvalidToken,))
        self.fhir = FhirServer(
            None if is_open else self.tenant.verify,
            refusals=(InvalidToken,),
            audience=audience,
            patients=patients,
            base_path=base_path,
            spelling=spelling,
            alias=alias,
            compress=compress,
            export_to=self.storage,
        )
        self._is_tls = is_tls

    async def start(self, *, fhir_port: int = 0, tenant_port: int = 0) -> None:
        """Listen on 127.0.0.1; port 0 takes a free one. OSError where a port is taken."""
        await self.tenant.start(port=tenant_port)
        self.fhir.access.authority = self.tenant.authority
        context: ssl.SSLContext | None = None
        if self._is_tls:
            context = self.tenant.certificates.server_context("localhost")
        try:
            await self.fhir.start(
                port=fhir_port, ssl_context=context, name="localhost" if self._is_tls else ""
            )
            await self._start_storage()
        except BaseException:
            await self.close()
            raise
        for uri in {self.fhir.base_url, self.fhir.access.audience}:
            self.tenant.register(
                Resource(
                    uri,
                    preauthorized=frozenset({DESKTOP.client_id}),
                    app_roles={SERVICE.client_id: ("globalAdmin",)},
                )
            )

    async def _start_storage(self) -> None:
        if self.storage is None:
            return
        self.storage.authority = self.tenant.authority
        await self.storage.start(self.tenant.certificates.server_context())
        self.tenant.register(Resource(AUDIENCE, preauthorized=frozenset({DESKTOP.client_id})))

    async def close(self) -> None:
        """Stop all."""
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self.tenant.close)
            stack.push_async_callback(self.fhir.close)
            if self.storage is not None:
                stack.push_async_callback(self.storage.close)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
