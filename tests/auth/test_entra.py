from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from proxy.auth.authorities import Authority
from proxy.auth.entra import Entra
from proxy.auth.msal_room import TimeLimits
from proxy.auth.registration import Permission, Registration
from proxy.errors import AuthenticationFailed, ConfigError, IdentityProviderUnavailable, SignInRequired
from proxy.sandbox.certificates import CertificateAuthority
from proxy.sandbox.tenant import (
    SECRET,
    SERVICE,
    Endpoint,
    Garbage,
    Hang,
    HttpError,
    Lifetime,
    Tenant,
    Truncated,
)

from ..fakes.clock import FakeClock
from .conftest import BASE_URL

DEFAULTS = TimeLimits()
SHORT = TimeLimits(connect=0.2, read=0.2, total=0.5)

Make = Callable[..., Entra]


@pytest.fixture
async def make(tenant: Tenant, clock: FakeClock, ca_bundle: str) -> AsyncIterator[Make]:
    """An Entra for the service app, with changes; closed at the end."""
    made = []

    def make(
        authority: str = tenant.authority, bundle: str = ca_bundle, limits: TimeLimits = DEFAULTS
    ) -> Entra:
        async def where() -> Authority:
            return Authority(authority, authority.rpartition("/")[2])

        registration = Registration(SERVICE.client_id, BASE_URL, Permission.APP, BASE_URL, bundle)
        made.append(Entra(where, registration, clock, limits))
        return made[-1]

    yield make
    for entra in made:
        entra.close()


def test_defaults_answer_within_30_seconds_whatever_hangs() -> None:
    limits = TimeLimits()

    assert limits.connect + limits.read <= limits.total < 30


def test_msal_and_requests_are_not_imported_before_they_are_needed() -> None:
    asked = "import sys, proxy.auth; print(sorted({'msal', 'requests'} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)

    assert ended.stdout == "[]\n"


@pytest.mark.parametrize("endpoint", [Endpoint.CONFIGURATION, Endpoint.TOKEN])
async def test_hang_ends_in_an_error(tenant: Tenant, make: Make, endpoint: Endpoint) -> None:
    tenant.faults.always(Hang(), endpoint=endpoint)

    with pytest.raises(IdentityProviderUnavailable, match="does not answer in time"):
        await make(limits=SHORT).app_token(SECRET)


async def test_hang_that_drips_ends_in_an_error_as_well(tenant: Tenant, make: Make) -> None:
    tenant.faults.always(Hang())

    with pytest.raises(IdentityProviderUnavailable, match=r"did not answer within 0\.1 seconds"):
        await make(limits=TimeLimits(connect=5, read=5, total=0.1)).app_token(SECRET)


async def test_entra_that_refuses_connections_is_told(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    with pytest.raises(IdentityProviderUnavailable, match=f"localhost:{port} cannot be reached"):
        await make(f"https://localhost:{port}/t").app_token(SECRET)


@pytest.mark.parametrize(
    "fault",
    [
        HttpError(500),
        HttpError(503),
        HttpError(403),
        Garbage(),
        Garbage(b"[]"),
        Garbage(b"{}"),
        Garbage(b'{"access_token":7,"expires_in":3600}'),
        Garbage(b'{"access_token":"","expires_in":3600}'),
        Garbage(b'{"access_token":"a","expires_in":"soon"}'),
        Truncated(),
    ],
    ids=str,
)
async def test_garbled_answer_is_an_outage(tenant: Tenant, make: Make, fault: HttpError) -> None:
    tenant.faults.next(fault)

    with pytest.raises(IdentityProviderUnavailable):
        await make().app_token(SECRET)


@pytest.mark.parametrize("fault", [Garbage(), Garbage(b"{}"), HttpError(502), Truncated()], ids=str)
async def test_garbled_metadata_is_an_outage_and_asked_for_again(
    tenant: Tenant, make: Make, fault: HttpError
) -> None:
    tenant.faults.next(fault, endpoint=Endpoint.CONFIGURATION)
    entra = make()
    with pytest.raises(IdentityProviderUnavailable):
        await entra.app_token(SECRET)

    assert await entra.app_token(SECRET)


async def test_metadata_is_asked_for_once(tenant: Tenant, make: Make) -> None:
    entra = make()
    for _ in range(3):
        await entra.app_token(SECRET)

    assert [request.endpoint for request in tenant.requests].count(Endpoint.CONFIGURATION) == 1


async def test_every_question_for_an_app_token_reaches_the_tenant(tenant: Tenant, make: Make) -> None:
    entra = make()
    for _ in range(3):
        await entra.app_token(SECRET)

    assert len(tenant.token_requests) == 3


async def test_times_are_those_of_the_answer(tenant: Tenant, make: Make, clock: FakeClock) -> None:
    tenant.lifetimes.refresh_in = 1200
    tenant.faults.next(Lifetime(3000))
    token = await make().app_token(SECRET)

    assert token.expires_at == clock.now + 3000
    assert token.refresh_at == pytest.approx(clock.now + 1200, abs=5)


async def test_token_without_wish_for_renewal_is_renewed_at_its_end(
    tenant: Tenant, make: Make, clock: FakeClock
) -> None:
    tenant.faults.next(Lifetime(3000))
    token = await make().app_token(SECRET)

    assert token.refresh_at == token.expires_at == clock.now + 3000


# Trust


async def test_unknown_authority_of_the_certificate_is_explained(make: Make, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(CertificateAuthority.create().ca_pem)

    with pytest.raises(IdentityProviderUnavailable, match="not trusted here") as raised:
        await make(bundle=str(other)).app_token(SECRET)
    assert "--ca-bundle" in raised.value.hint


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
async def test_variables_do_not_override_the_configured_bundle(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(CertificateAuthority.create().ca_pem)
    monkeypatch.setenv(variable, str(other))

    assert await make().app_token(SECRET)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
async def test_variables_count_where_no_bundle_is_configured(
    make: Make, ca_bundle: str, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, ca_bundle)

    assert await make(bundle="").app_token(SECRET)


async def test_unreadable_bundle_is_named(make: Make, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.pem")

    with pytest.raises(ConfigError, match=r"ca_bundle = .*missing\.pem"):
        await make(bundle=missing).app_token(SECRET)


async def test_corporate_proxy_is_not_used_for_loopback(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    assert await make().app_token(SECRET)


# Habits


async def test_nobody_has_signed_in_at_first(make: Make) -> None:
    entra = make()

    assert entra.account_name == ""
    with pytest.raises(SignInRequired):
        await entra.renewed(force=False)


async def test_authority_is_asked_again_until_it_is_known(
    tenant: Tenant, ca_bundle: str, clock: FakeClock
) -> None:
    answers: list[Awaitable[Authority]] = []

    async def fails() -> Authority:
        raise IdentityProviderUnavailable("the server is down")

    async def succeeds() -> Authority:
        return Authority(tenant.authority, tenant.tenant_id)

    answers = [fails(), succeeds()]
    registration = Registration(SERVICE.client_id, BASE_URL, Permission.APP, BASE_URL, ca_bundle)
    entra = Entra(lambda: answers.pop(0), registration, clock)
    with pytest.raises(IdentityProviderUnavailable, match="the server is down"):
        await entra.app_token(SECRET)
    await entra.app_token(SECRET)
    await entra.app_token(SECRET)
    entra.close()

    assert answers == []


async def test_authority_without_tenant_is_refused(make: Make, tenant: Tenant) -> None:
    with pytest.raises(AuthenticationFailed, match="knows no tenant"):
        await make(f"{tenant.origin}/nobody").app_token(SECRET)


def test_msal_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("msal.application").critical("a token")

    assert caplog.text == ""


async def test_cancelled_call_leaves_entra_usable(tenant: Tenant, make: Make) -> None:
    hang = Hang()
    tenant.faults.next(hang)
    entra = make()
    call = asyncio.create_task(entra.app_token(SECRET))
    await hang.reached.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert await entra.app_token(SECRET)
