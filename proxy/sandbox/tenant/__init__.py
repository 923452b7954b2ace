"""An Entra-like tenant over TLS on a real socket, for people who try things out and for tests.

    async with Tenant() as tenant:
        tenant.register(Resource("https://localhost:9443", preauthorized=frozenset({DESKTOP.client_id})))
        ...  # an application signs in at tenant.authority, trusting tenant.ca_pem
        claims = tenant.verify(access_token, "https://localhost:9443")

What is where: `registry` holds what an administrator registers and `population` what is registered at the
start; `authority` decides who may act, `issuing` makes the answers, `tokens` signs and verifies; one file for
each endpoint (`discovery`, `authorize`, `device`, `token_endpoint`) and two for the pages between them
(`sign_in`, `pages`); `faults` and `calls` serve tests. `managed_identity` is a machine's own endpoint, plain
HTTP on a socket of its own.
"""

from __future__ import annotations

from .authority import Lifetimes
from .calls import RequestRecord
from .errors import EntraError
from .faults import Endpoint, Fault, Faults, Garbage, Hang, HttpError, Lifetime, Refusal, Truncated
from .managed_identity import IdentityEndpoint, MachineIdentity
from .population import (
    CLINIC,
    DESKTOP,
    DISABLED,
    GUEST,
    MEMBER,
    OTHER_MEMBER,
    PARTNER,
    PASSWORD,
    PERSONAL_USER,
    POPULATION,
    SECRET,
    SERVICE,
    STRANGER,
)
from .registry import (
    PERSONAL_ACCOUNTS,
    Client,
    Directory,
    FederatedCredential,
    Registration,
    Registry,
    Resource,
    User,
)
from .service import Tenant
from .tokens import Claims, InvalidToken

__all__ = [
    "CLINIC",
    "DESKTOP",
    "DISABLED",
    "GUEST",
    "MEMBER",
    "OTHER_MEMBER",
    "PARTNER",
    "PASSWORD",
    "PERSONAL_ACCOUNTS",
    "PERSONAL_USER",
    "POPULATION",
    "SECRET",
    "SERVICE",
    "STRANGER",
    "Claims",
    "Client",
    "Directory",
    "Endpoint",
    "EntraError",
    "Fault",
    "Faults",
    "FederatedCredential",
    "Garbage",
    "Hang",
    "HttpError",
    "IdentityEndpoint",
    "InvalidToken",
    "Lifetime",
    "Lifetimes",
    "MachineIdentity",
    "Refusal",
    "Registration",
    "Registry",
    "RequestRecord",
    "Resource",
    "Tenant",
    "Truncated",
    "User",
]
