from __future__ import annotations

import pytest

from proxy.auth.registration import Permission, authority_when_needed, registration, require
from proxy.config import ServerConfig
from proxy.errors import ConfigError
from proxy.model import Fields, ResponseHead

from .conftest import Probes

TENANT = "0c11a1c0-5a3d-4b0c-8000-000000000001"


def settings(**given: object) -> ServerConfig:
    return ServerConfig.of({"base_url": "https://fhir.example", **given})


@pytest.mark.parametrize(
    ("given", "permission", "scope"),
    [
        ({}, Permission.PERSON, "https://fhir.example/user_impersonation"),
        ({}, Permission.APP, "https://fhir.example/.default"),
        (
            {"base_url": "https://w-s.fhir.azurehealthcareapis.com/"},
            Permission.PERSON,
            "https://w-s.fhir.azurehealthcareapis.com/user_impersonation",
        ),
        ({"base_url": "https://fhir.example/r4/"}, Permission.APP, "https://fhir.example/r4/.default"),
        ({"audience": "https://fhir.example/"}, Permission.APP, "https://fhir.example//.default"),
        ({"audience": "api://my-api"}, Permission.PERSON, "api://my-api/user_impersonation"),
        ({"audience": TENANT}, Permission.APP, f"{TENANT}/.default"),
    ],
)
def test_scope_is_audience_and_permission(
    given: dict[str, object], permission: Permission, scope: str
) -> None:
    assert registration(settings(**given), permission).scope == scope


def test_missing_settings_are_named_under_all_their_names() -> None:
    with pytest.raises(ConfigError) as raised:
        require(settings(auth="client-secret"), [("client_id",), ("client_secret", "client_secret_file")])

    assert raised.value.message == (
        "The method 'client-secret' needs client_id (--client-id, FHIR_AUTH_PROXY_CLIENT_ID, AZURE_CLIENT_ID); "
        "client_secret (FHIR_AUTH_PROXY_CLIENT_SECRET, AZURE_CLIENT_SECRET) or client_secret_file "
        "(--client-secret-file, FHIR_AUTH_PROXY_CLIENT_SECRET_FILE)"
    )


def test_given_settings_are_enough() -> None:
    given = settings(client_id="x", client_secret_file="f")
    require(given, [("client_id",), ("client_secret", "client_secret_file")])

    assert given.client_secret is None


async def test_configured_tenant_asks_nobody() -> None:
    probe = Probes()
    where = await authority_when_needed(settings(tenant=TENANT), probe)()

    assert (where.tenant, probe.count) == (TENANT, 0)


async def test_server_is_asked_when_no_tenant_is_configured() -> None:
    probe = Probes()
    uri = f"https://login.microsoftonline.com/{TENANT}/oauth2/authorize"
    probe.head = ResponseHead(
        401, b"", Fields.of([("WWW-Authenticate", f'Bearer authorization_uri="{uri}"')])
    )
    decide = authority_when_needed(settings(), probe)
    before = probe.count
    where = await decide()

    assert (before, probe.count) == (0, 1)
    assert where.url == f"https://login.microsoftonline.com/{TENANT}"


def test_contradicting_settings_are_told_at_once() -> None:
    with pytest.raises(ConfigError):
        authority_when_needed(settings(authority="https://login.example"), Probes())
