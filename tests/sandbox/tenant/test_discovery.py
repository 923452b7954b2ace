from __future__ import annotations

import asyncio

import jwt
import pytest
import requests

from proxy.sandbox.tenant import CLINIC, PARTNER, Tenant

from .calling import APPLICATION, AUDIENCE, ask


@pytest.mark.parametrize(
    ("path", "issuer"),
    [
        (f"{CLINIC.id}/v2.0", f"{CLINIC.id}/v2.0"),
        ("clinic.example/v2.0", f"{CLINIC.id}/v2.0"),
        (f"{PARTNER.id}", f"{PARTNER.id}/"),
        ("organizations/v2.0", "{tenantid}/v2.0"),
        ("common", "{tenantid}/"),
    ],
)
async def test_issuer(tenant: Tenant, session: requests.Session, path: str, issuer: str) -> None:
    url = f"{tenant.origin}/{path}/.well-known/openid-configuration"

    found = (await asyncio.to_thread(session.get, url)).json()

    assert found["issuer"] == f"{tenant.origin}/{issuer}"


async def test_unknown_tenant(tenant: Tenant, session: requests.Session) -> None:
    url = f"{tenant.origin}/unknown.example/v2.0/.well-known/openid-configuration"

    answer = await asyncio.to_thread(session.get, url)

    assert (answer.status_code, answer.json()["error_codes"]) == (400, [90002])


async def test_published_keys_verify_tokens(tenant: Tenant, session: requests.Session) -> None:
    token = (await ask(tenant, session, APPLICATION)).json()["access_token"]
    url = f"{tenant.authority}/v2.0/.well-known/openid-configuration"
    configuration = (await asyncio.to_thread(session.get, url)).json()
    keys = jwt.PyJWKSet.from_dict((await asyncio.to_thread(session.get, configuration["jwks_uri"])).json())

    claims = jwt.decode(
        token,
        keys[jwt.get_unverified_header(token)["kid"]],
        algorithms=["RS256"],
        audience=AUDIENCE,
        issuer=tenant.issuer,
    )

    assert claims["tid"] == tenant.tenant_id
