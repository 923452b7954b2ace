from __future__ import annotations

import math
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from proxy.auth import Seams, authenticator
from proxy.auth.cache import FAILURE_PAUSE
from proxy.errors import AuthenticationFailed, IdentityProviderUnavailable, ProxyError
from proxy.model import Fields, Rejection, ResponseHead
from proxy.sandbox.tenant import (
    CLINIC,
    SERVICE,
    Client,
    IdentityEndpoint,
    MachineIdentity,
    Tenant,
)

from ..fakes.clock import FakeClock
from .conftest import BASE_URL, Probes, Settings, token_of

OWN = Client("a55192ed-5a3d-4b0c-8000-000000000003", CLINIC.id, "user-assigned")
OWN_RESOURCE = (
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/own"
)
VARIABLES = (
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "IDENTITY_SERVER_THUMBPRINT",
    "IMDS_ENDPOINT",
    "MSI_ENDPOINT",
    "MSI_SECRET",
    "AZURE_POD_IDENTITY_AUTHORITY_HOST",
)


@pytest.fixture(autouse=True)
def _no_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def endpoint(tenant: Tenant) -> AsyncIterator[IdentityEndpoint]:
    tenant.register(OWN)
    async with tenant.identity_endpoint(
        MachineIdentity(SERVICE), MachineIdentity(OWN, OWN_RESOURCE)
    ) as endpoint:
        yield endpoint


@pytest.fixture(params=["virtual machine", "app service"])
def machine(
    request: pytest.FixtureRequest, endpoint: IdentityEndpoint, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The environment of each kind of machine; a proxy that leads nowhere is never asked."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    if request.param == "app service":
        monkeypatch.setenv("IDENTITY_ENDPOINT", endpoint.app_service_url)
        monkeypatch.setenv("IDENTITY_HEADER", endpoint.header)
    else:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", endpoint.url)
    return str(request.param)


@pytest.fixture
async def settings(app_settings: Settings) -> Settings:
    def made(**changes: object) -> object:
        given = {"auth": "managed-identity", "client_secret": None, "client_id": "", "authority": None}
        return app_settings(**{**given, **changes})

    return made


IDENTITIES = [
    ({}, SERVICE),
    ({"client_id": OWN.client_id}, OWN),
    ({"managed_identity_resource_id": OWN_RESOURCE}, OWN),
    ({"managed_identity_object_id": OWN.object_id(CLINIC.id)}, OWN),
]


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(("changes", "client"), IDENTITIES)
async def test_machine_signs_in_for_the_audience_alone(
    tenant: Tenant,
    settings: Settings,
    seams: Seams,
    endpoint: IdentityEndpoint,
    changes: dict[str, object],
    client: Client,
) -> None:
    signing = authenticator(settings(**changes), seams)
    claims = tenant.verify(await token_of(signing), BASE_URL)
    await signing.close()

    assert claims.appid == client.client_id
    assert [BASE_URL] == [asked["resource"] for asked in endpoint.requests]


@pytest.mark.usefixtures("machine")
async def test_token_is_kept_and_a_refused_one_replaced(
    settings: Settings, seams: Seams, clock: FakeClock, endpoint: IdentityEndpoint
) -> None:
    signing = authenticator(settings(), seams)
    first = await signing.credentials()
    assert first is not None
    await signing.credentials()
    clock.advance(1)
    second = await signing.credentials(Rejection(first))
    await signing.close()

    assert second not in {None, first}
    assert len(endpoint.requests) == 2


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"client_id": "another"},
            "no token of the identity with the client id another .*(not found|No managed)",
        ),
        ({"audience": "https://other.example"}, "for https://other.example. It says: .*other.example"),
    ],
)
async def test_refusal_is_explained(
    settings: Settings, seams: Seams, changes: dict[str, object], words: str
) -> None:
    signing = authenticator(settings(**changes), seams)
    with pytest.raises(AuthenticationFailed, match=words) as raised:
        await token_of(signing)
    await signing.close()

    assert "--managed-identity-resource-id" in raised.value.hint


async def test_laptop_without_an_endpoint_hears_so(
    settings: Settings, seams: Seams, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", f"http://127.0.0.1:{port}")
    signing = authenticator(settings(), seams)
    with pytest.raises(
        IdentityProviderUnavailable, match=f"no managed identity endpoint at 127.0.0.1:{port}"
    ) as raised:
        await token_of(signing)
    await signing.close()

    assert "--auth interactive" in raised.value.hint


ANSWERS = [
    (429, "{}", {"Retry-After": "7"}, IdentityProviderUnavailable, "is busy: it answers 429"),
    (503, "hush", {}, IdentityProviderUnavailable, "is busy: it answers 503"),
    (302, "hush", {"Location": "https://evil.example"}, AuthenticationFailed, "makes no sense"),
    (200, "hush", {}, AuthenticationFailed, "makes no sense"),
    (200, "[]", {}, AuthenticationFailed, "makes no sense"),
    (200, '{"access_token": "hush", "expires_in": "x"}', {}, AuthenticationFailed, "makes no sense"),
    (200, '{"access_token": ["hush"], "expires_in": 9}', {}, ProxyError, "makes no sense|gives no token"),
    (400, '{"error": "x", "error_description": "told"}', {}, AuthenticationFailed, "It says: told"),
]


@pytest.mark.parametrize(("status", "text", "fields", "error", "words"), ANSWERS)
async def test_other_answers_are_explained_without_their_content(
    settings: Settings,
    seams: Seams,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    text: str,
    fields: dict[str, str],
    error: type[ProxyError],
    words: str,
) -> None:
    async def serve(_request: web.Request) -> web.Response:
        return web.Response(status=status, text=text, headers=fields, content_type="application/json")

    application = web.Application()
    application.router.add_get("/metadata/identity/oauth2/token", serve)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", f"http://127.0.0.1:{runner.addresses[0][1]}")
    signing = authenticator(settings(), seams)
    with pytest.raises(error, match=words) as raised:
        await token_of(signing)
    await signing.close()
    await runner.cleanup()

    assert "hush" not in raised.value.message + raised.value.hint
    # An outage that names no time is tried again after the cache's pause; what has to be mended is not.
    pause = math.ceil(FAILURE_PAUSE) if error is IdentityProviderUnavailable else None
    assert raised.value.retry_after == (int(fields["Retry-After"]) if "Retry-After" in fields else pause)


@pytest.mark.usefixtures("machine")
async def test_auto_takes_the_named_identity(
    settings: Settings, seams: Seams, probe: Probes, lines: list[str]
) -> None:
    probe.head = ResponseHead(401, b"", Fields.of([("WWW-Authenticate", "Bearer")]))
    signing = authenticator(settings(auth="auto", managed_identity_resource_id=OWN_RESOURCE), seams)

    assert await token_of(signing)
    await signing.close()
    assert "the machine's managed identity is used" in lines[0]
