"""Microsoft's front end before a FHIR server that knows no sign-in: its 401, its challenge, the Host kept."""

from __future__ import annotations

from aiohttp import web
from multidict import CIMultiDict

from proxy.sandbox.tenant import InvalidToken, Tenant

from .relay import Relay

OUTCOME = (
    '{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"login",'
    '"diagnostics":"Authentication failed."}]}'
)


class Gate(Relay):
    """Admits requests with a token of the tenant for the gate's own base URL; /metadata is open to all."""

    def __init__(self, target: str, base_path: str, tenant: Tenant) -> None:
        super().__init__(target)
        self._base_path = base_path
        self._tenant = tenant

    @property
    def base_url(self) -> str:
        return self.origin + self._base_path

    def admit(self, request: web.Request, fields: CIMultiDict[str]) -> web.Response | None:
        scheme, _, token = fields.pop("Authorization", "").partition(" ")
        try:
            if scheme.lower() == "bearer":
                self._tenant.verify(token, self.base_url)
                return None
        except InvalidToken:
            scheme = "refused"
        if request.path == f"{self._base_path}/metadata":
            return None
        challenge = (
            f'Bearer authorization_uri="{self._tenant.authority}", '
            f'resource_id="{self.base_url}", realm="{self.base_url}"'
        )
        return web.Response(
            status=401,
            text=OUTCOME,
            content_type="application/fhir+json",
            headers={"WWW-Authenticate": challenge},
        )
