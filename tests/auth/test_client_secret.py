from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from proxy.auth import Seams, authenticator
from proxy.errors import AuthenticationFailed, ConfigError, IdentityProviderUnavailable
from proxy.model import Rejection
from proxy.sandbox.tenant import SECRET, SERVICE, Client, Garbage, Hang, HttpError, Refusal, Resource, Tenant

from ..fakes.clock import FakeClock
from .conftest import BASE_URL, Settings, renewed_ahead, token_of


async def test_app_signs_in(tenant: Tenant, app_settings: Settings, seams: Seams) -> None:
    signing = authenticator(app_settings(), seams)
    claims = tenant.verify(await token_of(signing), BASE_URL)
    await signing.close()

    assert claims.aud == BASE_URL
    assert [f"{BASE_URL}/.default"] == [request.scope for request in tenant.token_requests]


async def test_configured_audience_is_taken_to_the_letter(
    tenant: Tenant, app_settings: Settings, seams: Seams
) -> None:
    signing = authenticator(app_settings(audience=f"{BASE_URL}/"), seams)
    await token_of(signing)
    await signing.close()

    assert [f"{BASE_URL}//.default"] == [request.scope for request in tenant.token_requests]


async def test_500_concurrent_requests_cause_one_token_request(
    tenant: Tenant, app_settings: Settings, seams: Seams
) -> None:
    signing = authenticator(app_settings(), seams)
    tokens = await asyncio.gather(*(token_of(signing) for _ in range(500)))
    await signing.close()

    assert len(set(tokens)) == 1
    assert len(tenant.token_requests) == 1


@pytest.mark.parametrize("life", [60.0, 299.0, 300.0])
async def test_short_lived_tokens_are_kept_all_the_same(
    tenant: Tenant, app_settings: Settings, seams: Seams, life: float
) -> None:
    tenant.lifetimes.access_token = life
    signing = authenticator(app_settings(), seams)
    for _ in range(5):
        await token_of(signing)
    await signing.close()

    assert len(tenant.token_requests) == 1


async def test_renewal_due_while_entra_is_broken_keeps_the_token(
    tenant: Tenant, app_settings: Settings, seams: Seams, clock: FakeClock
) -> None:
    tenant.lifetimes.refresh_in = 600
    signing = authenticator(app_settings(), seams)
    first = await token_of(signing)
    tenant.faults.next(HttpError(503))
    clock.advance(700)
    await renewed_ahead(signing)
    kept = await token_of(signing)
    clock.advance(30)
    await renewed_ahead(signing)
    renewed = await token_of(signing)
    await signing.close()

    assert kept == first
    assert renewed != first


async def test_refusal_is_not_replayed_when_its_reason_is_gone(
    tenant: Tenant, app_settings: Settings, seams: Seams, clock: FakeClock
) -> None:
    tenant.faults.next(Refusal(500011, BASE_URL))
    signing = authenticator(app_settings(), seams)
    with pytest.raises(AuthenticationFailed):
        await token_of(signing)
    clock.advance(5)
    await token_of(signing)
    await signing.close()

    assert len(tenant.token_requests) == 2


@pytest.mark.parametrize(
    "fault",
    [HttpError(500), HttpError(503, retry_after=3600), HttpError(502), Garbage(), Refusal(90033)],
    ids=str,
)
async def test_outage_is_over_soon_after_its_end(
    tenant: Tenant, app_settings: Settings, seams: Seams, clock: FakeClock, fault: HttpError
) -> None:
    tenant.faults.next(fault)
    signing = authenticator(app_settings(), seams)
    with pytest.raises(IdentityProviderUnavailable):
        await token_of(signing)
    clock.advance(30)

    assert await token_of(signing)
    await signing.close()


async def test_throttling_is_honoured(
    tenant: Tenant, app_settings: Settings, seams: Seams, clock: FakeClock
) -> None:
    tenant.faults.next(HttpError(429, retry_after=120))
    signing = authenticator(app_settings(), seams)
    with pytest.raises(IdentityProviderUnavailable) as raised:
        await token_of(signing)
    clock.advance(119)
    with pytest.raises(IdentityProviderUnavailable):
        await token_of(signing)
    clock.advance(1)
    await token_of(signing)
    await signing.close()

    assert raised.value.retry_after == 120
    assert len(tenant.token_requests) == 2


async def test_nothing_of_a_garbled_answer_is_logged(
    tenant: Tenant, app_settings: Settings, seams: Seams, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    tenant.faults.next(Garbage(b'{"access_token":"visible-token","expires_in":'))
    signing = authenticator(app_settings(), seams)
    with pytest.raises(IdentityProviderUnavailable) as raised:
        await token_of(signing)
    clock.advance(5)
    await token_of(signing)
    await signing.close()

    assert "visible-token" not in caplog.text + str(raised.value)
    assert SECRET not in caplog.text


async def test_rejected_token_is_replaced_by_a_new_one(
    tenant: Tenant, app_settings: Settings, seams: Seams, clock: FakeClock
) -> None:
    signing = authenticator(app_settings(), seams)
    first = await signing.credentials()
    assert first is not None
    clock.advance(1)
    second = await signing.credentials(Rejection(first))
    await signing.close()

    assert first != second
    assert len(tenant.token_requests) == 2


async def test_stop_does_not_wait_for_entra(tenant: Tenant, app_settings: Settings, seams: Seams) -> None:
    hang = Hang()
    tenant.faults.always(hang)
    signing = authenticator(app_settings(), seams)
    waiter = asyncio.create_task(signing.credentials())
    await hang.reached.wait()
    await signing.close()
    outcome = await asyncio.gather(waiter, return_exceptions=True)

    assert "stopping" in str(outcome[0])


async def test_wrong_secret_is_explained_and_not_shown(
    tenant: Tenant, app_settings: Settings, seams: Seams, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    signing = authenticator(app_settings(client_secret="not~the~right~secret~value"), seams)
    with pytest.raises(AuthenticationFailed) as raised:
        await token_of(signing)
    await signing.close()
    told = f"{raised.value.message} {raised.value.hint}"

    assert "AADSTS7000215" in told
    assert "trace" in told
    assert "correlation" in told
    assert "not~the~right" not in told + caplog.text


async def test_unknown_tenant_is_named(tenant: Tenant, app_settings: Settings, seams: Seams) -> None:
    signing = authenticator(app_settings(authority=f"{tenant.origin}/nobody.example"), seams)
    with pytest.raises(AuthenticationFailed, match=r"knows no tenant 'nobody\.example'"):
        await token_of(signing)
    await signing.close()


async def test_secret_file_is_read_each_time(
    tenant: Tenant, app_settings: Settings, seams: Seams, clock: FakeClock, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    signing = authenticator(app_settings(client_secret=None, client_secret_file=str(file)), seams)
    first = await signing.credentials()
    assert first is not None
    tenant.register(Client(SERVICE.client_id, SERVICE.home, secret="rotated"))
    file.write_text("rotated")
    clock.advance(1)
    second = await signing.credentials(Rejection(first))
    await signing.close()

    assert second is not None
    assert second != first


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read: No such file"), (b"\n", "is empty"), (b"\xff\xfe", "it is not UTF-8")],
)
async def test_unusable_secret_file_is_named(
    app_settings: Settings, seams: Seams, tmp_path: Path, content: bytes | None, message: str
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    signing = authenticator(app_settings(client_secret=None, client_secret_file=str(file)), seams)

    with pytest.raises(AuthenticationFailed, match=message) as raised:
        await token_of(signing)
    await signing.close()
    assert str(file) in raised.value.message


async def test_missing_settings_are_told_together(app_settings: Settings, seams: Seams) -> None:
    config = app_settings(client_id="", client_secret=None, authority=None)

    with pytest.raises(ConfigError) as raised:
        authenticator(config, seams)
    for name in (
        "client_id (--client-id, FHIR_AUTH_PROXY_CLIENT_ID, AZURE_CLIENT_ID)",
        "AZURE_CLIENT_SECRET",
        "--client-secret-file",
        "AZURE_TENANT_ID",
    ):
        assert name in raised.value.message


async def test_secret_follows_no_challenge(app_settings: Settings, seams: Seams) -> None:
    with pytest.raises(ConfigError, match="tenant"):
        authenticator(app_settings(authority=None, tenant="organizations"), seams)


async def test_http_authority_is_refused(app_settings: Settings, seams: Seams) -> None:
    with pytest.raises(ConfigError, match="https"):
        authenticator(app_settings(authority="http://localhost:1/tenant"), seams)


async def test_two_authorities_on_one_host_share_nothing(
    tenant: Tenant, app_settings: Settings, seams: Seams
) -> None:
    async with Tenant(certificates=tenant.certificates) as other:
        other.register(Resource(BASE_URL))
        here = authenticator(app_settings(), seams)
        there = authenticator(app_settings(authority=other.authority), seams)
        tokens = await token_of(here), await token_of(there)

        assert tenant.verify(tokens[0], BASE_URL).iss == tenant.issuer
        assert other.verify(tokens[1], BASE_URL).iss == other.issuer
        await here.close()
        await there.close()
