"""AADSTS codes that the sandbox raises -> what the user of the doctor reads."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.auth import authenticator
from proxy.auth.aadsts import explain
from proxy.auth.aadsts_table import BY_CODE, POWER_BI
from proxy.auth.cache import LONGEST_PAUSE
from proxy.config import ServerConfig
from proxy.doctor.identity import sign_in
from proxy.doctor.state import State
from proxy.doctor.verdicts import Status, failed
from proxy.errors import ProxyError
from proxy.sandbox.certificates import CertificateAuthority
from proxy.sandbox.tenant import SECRET, SERVICE, Refusal, Tenant
from proxy.sandbox.tenant.errors import KINDS, OTHER_KIND

from ..fakes.clock import FakeClock
from ..running import unattended

BASE_URL = "https://fhir.clinic.example"

OUTAGES = {code for code, kind in KINDS.items() if kind.status in {429, 503}}

READ = [
    # code, what the cause says, what the fix says
    (65001, "Nobody has agreed yet", "Grant admin consent"),
    (65001, "Nobody has agreed yet", POWER_BI),
    (65002, "Microsoft's own", "Register an app of your own"),
    (65004, "answered with no", "accept"),
    (90094, "only administrators", "Grant admin consent"),
    (650057, "not among the permissions", "APIs my organization uses"),
    (650057, "not among the permissions", POWER_BI),
    (500011, f"no resource by the name {BASE_URL}", "Application ID URI"),
    (700016, SERVICE.client_id, "--client-id"),
    (90002, "does not find the tenant", "--tenant"),
    (90038, "another Microsoft cloud", "--authority-host"),
    (50194, "belongs to one tenant", "--tenant"),
    (90124, "without a tenant", "--tenant"),
    (50020, "does not exist in the tenant", "guest"),
    (50105, "not assigned", "Assignment required"),
    (7000215, "not one of the app", "Value, not its Secret ID"),
    (7000222, "has expired", "New client secret"),
    (7000218, "sends none", "Allow public client flows"),
    (700025, "without secrets", "without AZURE_CLIENT_SECRET"),
    (700024, "not valid at this time", "clock"),
    (700213, "No federated credential", "Federated credentials"),
    (50011, "does not know the address", "http://localhost"),
    (50076, "second factor", "--auth interactive"),
    (53003, "Conditional Access", "instead of a device code"),
    (53000, "only devices", "managed device"),
    (530036, "began with a device code", "--auth interactive"),
    (50173, "revoked", "Sign in again"),
    (700082, "has expired", "Sign in again"),
    (50057, "switched off", "administrator"),
    (500212, "Your organization does not let", "Outbound"),
    (500213, "does not let accounts of your organization in", "Inbound"),
    (50196, "too often", "Wait some minutes"),
    (90055, "429", "Try again"),
    (50033, "503", "Try again"),
]


@pytest.fixture(scope="module")
def certificates() -> CertificateAuthority:
    return CertificateAuthority.create()


@pytest.fixture
async def tenant(certificates: CertificateAuthority) -> AsyncIterator[Tenant]:
    async with Tenant(certificates=certificates) as tenant:
        yield tenant


def settings(tenant: Tenant, folder: Path) -> ServerConfig:
    ca_file = folder / "ca.pem"
    ca_file.write_bytes(tenant.ca_pem)
    return ServerConfig.of(
        {
            "base_url": BASE_URL,
            "auth": "client-secret",
            "authority": tenant.authority,
            "client_id": SERVICE.client_id,
            "client_secret": SECRET,
            "ca_bundle": str(ca_file),
        }
    )


@pytest.mark.parametrize(("code", "cause", "fix"), READ, ids=[f"{code} {fix}" for code, _, fix in READ])
async def test_code_is_read_as(tenant: Tenant, tmp_path: Path, code: int, cause: str, fix: str) -> None:
    tenant.faults.next(Refusal(code))
    state, verdict = await sign_in(State(settings(tenant, tmp_path), unattended()))
    assert state.authenticator is not None
    await state.authenticator.close()

    assert verdict.status is Status.FAILED
    assert (cause in verdict.cause, fix in verdict.fix) == (True, True), verdict


async def test_every_code_of_the_table_and_of_the_sandbox_is_explained_with_number_and_link(
    tenant: Tenant, tmp_path: Path
) -> None:
    clock = FakeClock(time.time())
    own = authenticator(settings(tenant, tmp_path), replace(unattended(), clock=clock))
    unexplained = []
    codes = sorted({*KINDS, *BY_CODE} - OUTAGES)
    for code in codes:
        tenant.faults.next(Refusal(code))
        with pytest.raises(ProxyError) as caught:
            await own.credentials()
        clock.advance(LONGEST_PAUSE)  # a failure is told again until then, without asking
        verdict = failed(caught.value, "")
        explained = explain(
            [code],
            KINDS.get(code, OTHER_KIND).error,
            KINDS.get(code, OTHER_KIND).suberror,
            base_url=BASE_URL,
            client_id=SERVICE.client_id,
            tenant=tenant.tenant_id,
            audience=BASE_URL,
        )
        told = (
            verdict.cause.startswith(f"{explained.cause} Entra ID says: AADSTS{code}: "),
            verdict.fix == f"{explained.fix} {explained.link}",
        )
        if told != (True, True):
            unexplained.append((code, verdict))
    await own.close()

    assert unexplained == []
    assert len(tenant.token_requests) == len(codes)
    assert len(BY_CODE) > 150
