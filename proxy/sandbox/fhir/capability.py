"""What the server says of itself: CapabilityStatement, SMART configuration, versions, health."""

from __future__ import annotations

from dataclasses import dataclass

from .access import Access
from .calls import Call, Reply, plain_json
from .outcome import FhirError
from .parameters import known
from .resource_types import RESOURCE_TYPES

INTERACTIONS = (
    "read",
    "vread",
    "update",
    "patch",
    "delete",
    "history-instance",
    "history-type",
    "create",
    "search-type",
)
OPERATIONS = (("export", "export"), ("everything", "patient-everything"))
SMART_EXTENSION = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
SECURITY_SERVICE = "http://terminology.hl7.org/CodeSystem/restful-security-service"


@dataclass(frozen=True, slots=True)
class Capability:
    """Answers that need no token."""

    access: Access

    def metadata(self, call: Call) -> Reply:
        """Answer the CapabilityStatement."""
        links = call.links
        rest: dict[str, object] = {"mode": "server"}
        if self.access.authority:
            rest["security"] = self._security()
        rest["resource"] = [resource_statement(type_) for type_ in RESOURCE_TYPES]
        rest["interaction"] = [
            {"code": code} for code in ("transaction", "batch", "history-system", "search-system")
        ]
        rest["operation"] = [
            {"name": name, "definition": links.to(f"OperationDefinition/{id_}")} for name, id_ in OPERATIONS
        ]
        statement = {
            "resourceType": "CapabilityStatement",
            "url": links.to("metadata"),
            "name": "SandboxCapabilityStatement",
            "status": "active",
            "experimental": True,
            "date": "2026-01-01",
            "publisher": "fhir-auth-proxy sandbox",
            "kind": "instance",
            "software": {"name": "fhir-auth-proxy sandbox"},
            "implementation": {"description": "Synthetic patients in memory", "url": links.to()},
            "fhirVersion": "4.0.1",
            "format": ["json", "xml"],
            "patchFormat": ["application/json-patch+json"],
            "rest": [rest],
        }
        return Reply(200, resource=statement)

    def _security(self) -> dict[str, object]:
        """Return rest.security as Microsoft's SecurityProvider.cs fills it."""
        authorize, token = login_endpoints(self.access.authority)
        uris = [{"url": "authorize", "valueUri": authorize}, {"url": "token", "valueUri": token}]
        coding = {"system": SECURITY_SERVICE, "code": "OAuth"}
        return {"extension": [{"url": SMART_EXTENSION, "extension": uris}], "service": [{"coding": [coding]}]}

    def smart_configuration(self, call: Call) -> Reply:
        """Answer what SMART clients ask first, or raise FhirError 400 on an open server."""
        if not self.access.authority:
            raise FhirError(400, "not-supported", "Authorization is disabled on this server.")
        authorize, token = login_endpoints(self.access.authority)
        configuration = {
            "authorization_endpoint": authorize,
            "token_endpoint": token,
            "introspection_endpoint": call.links.to("connect/introspect"),
            "capabilities": [
                "sso-openid-connect",
                "permission-offline",
                "permission-patient",
                "permission-user",
            ],
            "scopes_supported": [
                "openid",
                "fhirUser",
                "launch",
                "launch/patient",
                "offline_access",
                "online_access",
            ],
            "code_challenge_methods_supported": ["S256"],
            "grant_types_supported": ["authorization_code", "client_credentials"],
            "token_endpoint_auth_methods_supported": [
                "client_secret_basic",
                "client_secret_post",
                "private_key_jwt",
            ],
            "response_types_supported": ["code"],
            "issuer": f"{self.access.authority}/v2.0",
            "jwks_uri": f"{self.access.authority}/discovery/v2.0/keys",
        }
        return plain_json(configuration, call.links)

    def versions(self, call: Call) -> Reply:
        """Answer `$versions`."""
        return plain_json({"versions": ["4.0"], "default": "4.0"}, call.links)

    def health(self, call: Call) -> Reply:
        """Answer the health check."""
        return plain_json({"overallStatus": "Healthy", "details": []}, call.links)


def login_endpoints(authority: str) -> tuple[str, str]:
    """Return the authorize and token endpoints of an Entra authority, version 2."""
    return f"{authority}/oauth2/v2.0/authorize", f"{authority}/oauth2/v2.0/token"


def resource_statement(type_: str) -> dict[str, object]:
    """Return rest.resource of one type."""
    return {
        "type": type_,
        "interaction": [{"code": code} for code in INTERACTIONS],
        "versioning": "versioned",
        "readHistory": True,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalRead": "full-support",
        "conditionalUpdate": True,
        "conditionalDelete": "single",
        "searchParam": [{"name": name, "type": row.kind} for name, row in sorted(known(type_).items())],
    }
