"""The real MSAL signs in to the tenant over TLS."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import msal
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from proxy.sandbox.tenant import (
    CLINIC,
    DESKTOP,
    GUEST,
    MEMBER,
    OTHER_MEMBER,
    PARTNER,
    SECRET,
    SERVICE,
    Client,
    FederatedCredential,
    Resource,
    Tenant,
)

from ..browser import Browser
from .calling import APP_SCOPE, AUDIENCE, REDIRECT, USER_SCOPE, confidential, public
from .conftest import MovableClock

Result = dict[str, object]
PEM = serialization.Encoding.PEM


def make_key() -> tuple[rsa.RSAPrivateKey, bytes]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key, key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def make_certificate(key: rsa.RSAPrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "service")])
    start = datetime.now(UTC) - timedelta(days=1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(start).not_valid_after(start + timedelta(days=9))
    return builder.sign(key, hashes.SHA256()).public_bytes(PEM)


async def for_client(tenant: Tenant, session: requests.Session, credential: object) -> Result:
    def work() -> Result:
        return confidential(tenant, session, credential).acquire_token_for_client([APP_SCOPE])

    return await asyncio.to_thread(work)


async def by_device_code(
    tenant: Tenant, application: msal.PublicClientApplication, browser: Browser
) -> Result:
    """One poll too early, then the person signs in, then one more poll."""

    def work() -> Result:
        flow = application.initiate_device_flow([USER_SCOPE])
        early = application.acquire_token_by_device_flow(flow, exit_condition=lambda _: True)
        assert early["error"] == "authorization_pending"

        page = browser.enter_device_code(flow["verification_uri"], flow["user_code"])
        assert browser.sign_in(page, MEMBER).name == "device-signed-in"
        flow["latest_attempt_at"] = 0  # MSAL's own patience, by a clock that can't be moved
        return application.acquire_token_by_device_flow(flow, exit_condition=lambda _: True)

    return await asyncio.to_thread(work)


async def by_browser(application: msal.PublicClientApplication, browser: Browser, **more: str) -> Result:
    def work() -> Result:
        flow = application.initiate_auth_code_flow(
            [USER_SCOPE], redirect_uri=REDIRECT, response_mode="form_post", **more
        )
        page = browser.sign_in(browser.open(flow["auth_uri"]), MEMBER)
        assert page.forms[0].action == REDIRECT
        return application.acquire_token_by_auth_code_flow(flow, page.carried)

    return await asyncio.to_thread(work)


async def refresh(application: msal.PublicClientApplication, **more: object) -> Result:
    def work() -> Result:
        (account,) = application.get_accounts()
        return application.acquire_token_silent_with_error([USER_SCOPE], account, force_refresh=True, **more)

    return await asyncio.to_thread(work)


async def test_client_secret(tenant: Tenant, session: requests.Session) -> None:
    result = await for_client(tenant, session, SECRET)

    claims = tenant.verify(str(result["access_token"]), AUDIENCE)
    assert (claims.appid, claims.scp, claims.roles) == (SERVICE.client_id, (), ("reader",))
    assert (claims.tid, claims.oid) == (CLINIC.id, SERVICE.object_id(CLINIC.id))
    assert (claims.iss, claims.ver) == (tenant.issuer, "1.0")
    (record,) = tenant.token_requests
    assert (record.grant_type, record.client_id, record.scope) == (
        "client_credentials",
        SERVICE.client_id,
        APP_SCOPE,
    )


async def test_wrong_client_secret(tenant: Tenant, session: requests.Session) -> None:
    result = await for_client(tenant, session, "wrong")

    assert (result["error"], result["error_codes"]) == ("invalid_client", [7000215])
    assert str(result["error_description"]).startswith("AADSTS7000215: ")


async def test_certificate(tenant: Tenant, session: requests.Session) -> None:
    key, key_pem = make_key()
    certificate = make_certificate(key)
    tenant.register(Client(SERVICE.client_id, CLINIC.id, certificates=(certificate,)))

    result = await for_client(
        tenant, session, {"private_key": key_pem.decode(), "public_certificate": certificate.decode()}
    )

    assert tenant.verify(str(result["access_token"]), AUDIENCE).appid == SERVICE.client_id


async def test_certificate_that_is_not_registered(tenant: Tenant, session: requests.Session) -> None:
    key, key_pem = make_key()
    registered = make_certificate(make_key()[0])
    tenant.register(Client(SERVICE.client_id, CLINIC.id, certificates=(registered,)))

    result = await for_client(
        tenant,
        session,
        {"private_key": key_pem.decode(), "public_certificate": make_certificate(key).decode()},
    )

    assert result["error_codes"] == [700027]


async def test_key_of_another_certificate(tenant: Tenant, session: requests.Session) -> None:
    registered = make_certificate(make_key()[0])
    tenant.register(Client(SERVICE.client_id, CLINIC.id, certificates=(registered,)))

    result = await for_client(
        tenant,
        session,
        {"private_key": make_key()[1].decode(), "public_certificate": registered.decode()},
    )

    assert result["error_codes"] == [700027]


@pytest.mark.parametrize(
    ("issuer", "subject", "signer", "expected"),
    [
        ("https://cluster.example", "system:serviceaccount:fhir:proxy", 0, None),
        ("https://other.example", "system:serviceaccount:fhir:proxy", 0, [700211]),
        ("https://cluster.example", "system:serviceaccount:fhir:other", 0, [700213]),
        ("https://cluster.example", "system:serviceaccount:fhir:proxy", 1, [50013]),
    ],
)
async def test_federated_assertion(
    tenant: Tenant,
    session: requests.Session,
    clock: MovableClock,
    issuer: str,
    subject: str,
    signer: int,
    expected: list[int] | None,
) -> None:
    import jwt

    keys = [make_key(), make_key()]
    public_key = keys[0][0].public_key()
    pem = public_key.public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    credential = FederatedCredential("https://cluster.example", "system:serviceaccount:fhir:proxy", pem)
    tenant.register(Client(SERVICE.client_id, CLINIC.id, federated_credentials=(credential,)))
    claims = {"iss": issuer, "sub": subject, "aud": ["api://AzureADTokenExchange"], "exp": clock.now + 600}
    assertion = jwt.encode(claims, keys[signer][0], "RS256")

    result = await for_client(tenant, session, {"client_assertion": lambda: assertion})

    assert result.get("error_codes") == expected


async def test_device_code(tenant: Tenant, session: requests.Session, browser: Browser) -> None:
    application = await public(tenant, session)

    result = await by_device_code(tenant, application, browser)

    claims = tenant.verify(str(result["access_token"]), AUDIENCE)
    assert (claims.upn, claims.scp) == (MEMBER.username, ("user_impersonation",))
    assert application.get_accounts()[0]["username"] == MEMBER.username


async def test_device_code_declined(tenant: Tenant, session: requests.Session, browser: Browser) -> None:
    application = await public(tenant, session)

    def work() -> Result:
        flow = application.initiate_device_flow([USER_SCOPE])
        page = browser.enter_device_code(flow["verification_uri"], flow["user_code"])
        assert browser.submit(page, choice="cancel").name == "device-declined"
        return application.acquire_token_by_device_flow(flow, exit_condition=lambda _: True)

    assert (await asyncio.to_thread(work))["error"] == "authorization_declined"


async def test_device_code_polled_too_often_then_expired(
    tenant: Tenant, session: requests.Session, clock: MovableClock
) -> None:
    application = await public(tenant, session)
    flow = await asyncio.to_thread(application.initiate_device_flow, [USER_SCOPE])

    async def poll() -> str:
        def work() -> Result:
            flow["latest_attempt_at"] = 0  # MSAL's own patience, by a clock that can't be moved
            return application.acquire_token_by_device_flow(flow, exit_condition=lambda _: True)

        return str((await asyncio.to_thread(work))["error"])

    errors = [await poll(), await poll()]
    clock.now += 10
    errors.append(await poll())
    clock.now += 900
    errors.append(await poll())

    assert errors == ["authorization_pending", "slow_down", "authorization_pending", "expired_token"]


async def test_authorization_code(tenant: Tenant, session: requests.Session, browser: Browser) -> None:
    application = await public(tenant, session)

    result = await by_browser(application, browser)

    claims = tenant.verify(str(result["access_token"]), AUDIENCE)
    assert (claims.upn, claims.appid) == (MEMBER.username, DESKTOP.client_id)
    (account,) = application.get_accounts()
    assert account["home_account_id"] == f"{MEMBER.object_id(CLINIC.id)}.{CLINIC.id}"
    silent = await asyncio.to_thread(application.acquire_token_silent, [USER_SCOPE], account)
    assert (silent["token_source"], len(tenant.token_requests)) == ("cache", 1)


async def test_refresh_token_rotates(tenant: Tenant, session: requests.Session, browser: Browser) -> None:
    application = await public(tenant, session)
    first = str((await by_browser(application, browser))["refresh_token"])

    second = await refresh(application)
    third = await refresh(application)

    assert tenant.verify(str(third["access_token"]), AUDIENCE).upn == MEMBER.username
    reused = await asyncio.to_thread(application.acquire_token_by_refresh_token, first, [USER_SCOPE])
    assert (reused["error"], reused["error_codes"]) == ("invalid_grant", [70000])
    assert second["token_source"] == third["token_source"] == "identity_provider"


async def test_revoked_refresh_token(tenant: Tenant, session: requests.Session, browser: Browser) -> None:
    application = await public(tenant, session)
    await by_browser(application, browser)

    tenant.revoke(MEMBER.username)
    refused = await refresh(application)

    assert (refused["error"], refused["error_codes"]) == ("invalid_grant", [50173])


async def test_other_users_stay_signed_in(
    tenant: Tenant, session: requests.Session, browser: Browser
) -> None:
    application = await public(tenant, session)
    await by_browser(application, browser)

    tenant.revoke(OTHER_MEMBER.username)

    assert "access_token" in await refresh(application)


async def test_refresh_token_expires(
    tenant: Tenant, session: requests.Session, browser: Browser, clock: MovableClock
) -> None:
    application = await public(tenant, session)
    await by_browser(application, browser)

    clock.now += 90 * 86400

    assert (await refresh(application))["error_codes"] == [700082]


async def test_claims_challenge(tenant: Tenant, session: requests.Session, browser: Browser) -> None:
    application = await public(tenant, session, client_capabilities=["CP1"])
    await by_browser(application, browser)
    challenge = json.dumps({"access_token": {"nbf": {"essential": True, "value": "1"}}})

    result = await refresh(application, claims_challenge=challenge)

    assert tenant.verify(str(result["access_token"]), AUDIENCE).xms_cc == ("CP1",)
    assert [record.has_claims for record in tenant.token_requests] == [True, True]


async def test_unknown_resource(tenant: Tenant, session: requests.Session) -> None:
    def work() -> Result:
        application = confidential(tenant, session, SECRET)
        return application.acquire_token_for_client(["https://typo.example/.default"])

    result = await asyncio.to_thread(work)

    assert (result["error"], result["error_codes"]) == ("invalid_resource", [500011])


async def test_guest_signs_in_where_the_server_is(
    tenant: Tenant, session: requests.Session, browser: Browser
) -> None:
    application = await public(tenant, session)

    def work() -> Result:
        flow = application.initiate_auth_code_flow(
            [USER_SCOPE], redirect_uri=REDIRECT, response_mode="form_post"
        )
        page = browser.sign_in(browser.open(flow["auth_uri"]), GUEST)
        return application.acquire_token_by_auth_code_flow(flow, page.carried)

    result = await asyncio.to_thread(work)

    assert tenant.verify(str(result["access_token"]), AUDIENCE).oid == GUEST.object_id(CLINIC.id)
    (account,) = application.get_accounts()
    assert account["home_account_id"].endswith(f".{PARTNER.id}")
    assert result["id_token_claims"]["tid"] == CLINIC.id


async def test_second_resource_by_the_same_refresh_token(
    tenant: Tenant, session: requests.Session, browser: Browser
) -> None:
    application = await public(tenant, session)
    await by_browser(application, browser)
    tenant.register(Resource("https://other.example", preauthorized=frozenset({DESKTOP.client_id})))

    def work() -> Result:
        (account,) = application.get_accounts()
        return application.acquire_token_silent_with_error(
            ["https://other.example/user_impersonation"], account
        )

    result = await asyncio.to_thread(work)

    assert tenant.verify(str(result["access_token"]), "https://other.example").upn == MEMBER.username


async def test_refresh_in_is_passed_on(tenant: Tenant, session: requests.Session) -> None:
    tenant.lifetimes.access_token, tenant.lifetimes.refresh_in = 7200, 3600

    result = await for_client(tenant, session, SECRET)

    assert (result["expires_in"], "refresh_on" in result or "refresh_in" in result) == (7200, True)
