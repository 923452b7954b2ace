"""Every method of Entra ID before every turn that a sign-in takes: over TLS, with MSAL as it is.

What is special to a method stands in its own file; this is the table of what holds for all.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from proxy.auth import Gate, Seams, authenticator
from proxy.errors import AuthenticationFailed, IdentityProviderUnavailable
from proxy.model import Challenge, Credentials, Rejection
from proxy.sandbox.tenant import (
    CLINIC,
    DESKTOP,
    MEMBER,
    SECRET,
    SERVICE,
    Client,
    Endpoint,
    Fault,
    FederatedCredential,
    Garbage,
    Hang,
    HttpError,
    MachineIdentity,
    Refusal,
    Tenant,
    Truncated,
)

from ..fakes.browser import ScriptedBrowser
from ..fakes.clock import FakeClock
from .conftest import BASE_URL, Settings, renewed_ahead, until
from .keys import certificate_of, key_pem, pem, rsa_key, written

HOUR = 3600.0
KEY = rsa_key()
CERTIFICATE = certificate_of(KEY)
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
ISSUER, SUBJECT = "https://cluster.example", "system:serviceaccount:etl:loader"

PEOPLE = ("interactive", "device-code")
APPS = ("client-secret", "client-certificate", "workload-identity")
BY_ENTRA = (*PEOPLE, *APPS)
GRANTS = {
    "interactive": "authorization_code",
    "device-code": "urn:ietf:params:oauth:grant-type:device_code",
    **dict.fromkeys(APPS, "client_credentials"),
}


@dataclass
class Rig:
    """A method that is ready to sign in, and the person who does so where one is needed."""

    method: str
    signing: Gate
    tenant: Tenant
    browser: ScriptedBrowser
    clock: FakeClock
    lines: list[str]
    asked: Callable[[], int]
    """How many tokens were asked for."""

    async def signed_in(self, call: Awaitable[Credentials | None] | None = None) -> str:
        """The token of a request during which somebody signs in."""
        told = len(self.lines)
        waiter = asyncio.ensure_future(call or self.signing.credentials())
        if self.method == "device-code":
            await until(lambda: any(" with the code " in line for line in self.lines[told:]))
            found = re.search(r"Sign in at (\S+) with the code (\S+)", "\n".join(self.lines[told:]))
            assert found is not None
            self.browser.user_code = found[2]
            await self.browser.visit(found[1])
            await self.clock.slept(5)
            self.clock.advance(5)
        return _text(await waiter)

    async def token(self, rejected: Rejection | None = None) -> str:
        """The token of a request for which nobody is asked."""
        return _text(await self.signing.credentials(rejected))

    @property
    def place(self) -> Endpoint:
        """The endpoint that the method asks for tokens."""
        return Endpoint.MACHINE if self.method == "managed-identity" else Endpoint.TOKEN

    @property
    def grants(self) -> list[str]:
        return [request.grant_type for request in self.tenant.token_requests]


def _text(credentials: Credentials | None) -> str:
    assert credentials is not None
    return credentials.authorization.decode().removeprefix("Bearer ")


def register(tenant: Tenant, **proofs: object) -> None:
    """The app with these proofs of itself, in the place of those it had."""
    tenant.register(Client(SERVICE.client_id, SERVICE.home, **proofs))  # type: ignore[arg-type]


def proofs(method: str) -> dict[str, object]:
    return {
        "client-secret": {"secret": SECRET},
        "client-certificate": {"certificates": (pem(CERTIFICATE),)},
        "workload-identity": {"federated_credentials": (FederatedCredential(ISSUER, SUBJECT, PUBLIC),)},
    }.get(method, {})


@pytest.fixture
async def rig(
    request: pytest.FixtureRequest,
    tenant: Tenant,
    app_settings: Settings,
    seams: Seams,
    browser: ScriptedBrowser,
    clock: FakeClock,
    lines: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Rig]:
    method = request.param
    pem_file, token_file = tmp_path / "app.pem", tmp_path / "federated"
    written(pem_file, key_pem(KEY) + pem(CERTIFICATE))
    now = int(clock.now)
    claims = {
        "iss": ISSUER,
        "sub": SUBJECT,
        "aud": "api://AzureADTokenExchange",
        "nbf": now,
        "exp": now + 86_400,
    }
    written(token_file, jwt.encode(claims, KEY, "RS256").encode())
    person = {"client_id": DESKTOP.client_id, "client_secret": None, "token_cache": "none"}
    settings: dict[str, object] = {
        "client-secret": {},
        "client-certificate": {"client_secret": None, "client_certificate_file": str(pem_file)},
        "workload-identity": {"client_secret": None, "federated_token_file": str(token_file)},
        "managed-identity": {"client_secret": None, "client_id": "", "authority": None},
    }.get(method, {**person, "sign_in_timeout": 3600})
    if method in APPS:
        register(tenant, **proofs(method))
    async with tenant.identity_endpoint(MachineIdentity(SERVICE)) as machine:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", machine.url)
        signing = authenticator(app_settings(auth=method, **settings), seams)

        def asked() -> int:
            return len(machine.requests) if method == "managed-identity" else len(tenant.token_requests)

        yield Rig(method, signing, tenant, browser, clock, lines, asked)
        await signing.close()


def each(*methods: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("rig", methods, indirect=True)


@each(*BY_ENTRA, "managed-identity")
async def test_first_sign_in(rig: Rig) -> None:
    claims = rig.tenant.verify(await rig.signed_in(), BASE_URL)

    assert (claims.upn or claims.appid) == (MEMBER.username if rig.method in PEOPLE else SERVICE.client_id)
    assert rig.signing.findings == ()
    assert rig.asked() == 1


@each(*BY_ENTRA, "managed-identity")
async def test_silent_renewals_each_with_the_refresh_token_of_the_last(rig: Rig) -> None:
    tokens = [await rig.signed_in()]
    for _ in range(3):
        rig.clock.advance(2 * HOUR)
        tokens.append(await rig.token())

    assert len({*tokens}) == 4
    assert rig.tenant.verify(tokens[-1], BASE_URL)
    assert rig.asked() == 4
    assert len(rig.browser.opened) == (1 if rig.method == "interactive" else 0)
    if rig.method in BY_ENTRA:
        again = "refresh_token" if rig.method in PEOPLE else "client_credentials"
        assert rig.grants == [GRANTS[rig.method], again, again, again]


@each(*PEOPLE)
async def test_revoked_refresh_token_has_the_person_asked(rig: Rig) -> None:
    first = await rig.signed_in()
    rig.tenant.revoke(MEMBER.username)
    rig.clock.advance(2 * HOUR)
    second = await rig.signed_in()

    assert rig.tenant.verify(second, BASE_URL)
    assert first != second
    assert rig.grants == [GRANTS[rig.method], "refresh_token", GRANTS[rig.method]]


REVOKED = {
    "client-secret": ({"secret": "another"}, "AADSTS7000215"),
    "client-certificate": ({"certificates": (pem(certificate_of(rsa_key())),)}, "AADSTS700027"),
    "workload-identity": ({"federated_credentials": ()}, "AADSTS"),
}


@each(*APPS)
async def test_proof_that_was_revoked_is_told_and_one_that_is_back_is_taken(rig: Rig) -> None:
    await rig.signed_in()
    changed, code = REVOKED[rig.method]
    register(rig.tenant, **changed)
    rig.clock.advance(2 * HOUR)
    with pytest.raises(AuthenticationFailed, match=code):
        await rig.token()
    register(rig.tenant, **proofs(rig.method))
    rig.clock.advance(5)

    assert rig.tenant.verify(await rig.token(), BASE_URL)


WANTED = {"nbf": {"essential": True, "value": "1635527790"}}
CLAIMS = base64.b64encode(json.dumps({"access_token": WANTED}).encode()).decode()
CHALLENGE = Challenge("bearer", {"error": "insufficient_claims", "claims": CLAIMS})


@each(*BY_ENTRA)
async def test_claims_that_the_server_wants_are_asked_for_once(rig: Rig) -> None:
    first = await rig.signed_in()
    refused = Rejection(Credentials(f"Bearer {first}".encode()), (CHALLENGE,))
    tokens = await asyncio.gather(*(rig.token(refused) for _ in range(20)))
    before, asked = rig.tenant.token_requests[-2:]

    assert len({*tokens}) == 1
    assert first not in tokens
    assert rig.asked() == 2
    assert "nbf" not in before.claims
    assert json.loads(asked.claims) == {"access_token": {**WANTED, "xms_cc": {"values": ["CP1"]}}}


@each("managed-identity")
async def test_machine_makes_a_new_token_for_a_server_that_wants_claims(rig: Rig) -> None:
    first = await rig.signed_in()
    rig.clock.advance(1)
    second = await rig.token(Rejection(Credentials(f"Bearer {first}".encode()), (CHALLENGE,)))

    assert first != second
    assert rig.asked() == 2


# More of each kind stand in test_entra.py and test_managed_identity.py, for one method. The machine's endpoint
# refuses in other shapes than Entra ID, and answers that make no sense come from no such endpoint.
BUSY = [HttpError(503), HttpError(502), HttpError(429, retry_after=7), Truncated()]
MET = [
    *((method, fault) for method in BY_ENTRA for fault in (*BUSY, Refusal(90033), Garbage())),
    *(("managed-identity", fault) for fault in BUSY),
]
each_meets = pytest.mark.parametrize(
    ("rig", "fault"), MET, indirect=["rig"], ids=[f"{method}-{fault}" for method, fault in MET]
)


@each_meets
async def test_token_that_is_good_outlasts_a_fault(rig: Rig, fault: Fault) -> None:
    rig.tenant.lifetimes.refresh_in = 600
    rig.tenant.lifetimes.access_token = 900  # the machine's token says nothing of its renewal
    first = await rig.signed_in()
    rig.tenant.faults.next(fault, endpoint=rig.place)
    rig.clock.advance(700)
    await renewed_ahead(rig.signing)
    kept = await rig.token()
    rig.clock.advance(30)
    await renewed_ahead(rig.signing)

    assert kept == first
    assert await rig.token() != first


@each_meets
async def test_without_a_good_token_a_fault_is_told_to_all_and_soon_over(rig: Rig, fault: Fault) -> None:
    first = await rig.signed_in()
    rig.clock.advance(2 * HOUR)
    rig.tenant.faults.next(fault, endpoint=rig.place)
    asked = rig.asked()
    told = await asyncio.gather(*(rig.token() for _ in range(50)), return_exceptions=True)
    later = await asyncio.gather(rig.token(), return_exceptions=True)
    during = rig.asked() - asked
    rig.clock.advance(30)

    assert {type(one) for one in [*told, *later]} == {IdentityProviderUnavailable}
    assert {one.retry_after for one in told} == {getattr(fault, "retry_after", None) or 5}
    assert during == 1
    assert await rig.token() != first
    assert rig.browser.opened == (rig.browser.opened[:1] if rig.method == "interactive" else [])


@each(*BY_ENTRA, "managed-identity")
async def test_hang_holds_only_those_who_have_no_good_token(rig: Rig) -> None:
    rig.tenant.lifetimes.refresh_in = 600
    rig.tenant.lifetimes.access_token = 900
    first = await rig.signed_in()
    hang = Hang()
    rig.tenant.faults.next(hang, endpoint=rig.place)
    rig.clock.advance(700)
    meanwhile = [await rig.token() for _ in range(3)]
    await hang.reached.wait()
    rig.clock.advance(250)
    waiters = [asyncio.ensure_future(rig.token()) for _ in range(3)]
    await asyncio.sleep(0)
    pending = [waiter.done() for waiter in waiters]
    hang.release()

    assert meanwhile == [first] * 3
    assert pending == [False] * 3
    assert first not in await asyncio.gather(*waiters)


# A federated token and a certificate have times of their own, which a jump must not leave.
@pytest.mark.parametrize("seconds", [-3 * HOUR, -60.0, 10 * 24 * HOUR])
@each("interactive", "client-secret", "client-certificate", "managed-identity")
async def test_clock_that_jumps_costs_one_renewal(rig: Rig, seconds: float) -> None:
    await rig.signed_in()
    rig.clock.advance(seconds)
    for _ in range(5):
        token = await rig.token()
    cached = rig.signing.inner
    if cached._flight is not None:
        await asyncio.wait({cached._flight.task})
    token = await rig.token()

    assert rig.asked() == 2
    assert rig.tenant.verify(token, BASE_URL)


@each(*BY_ENTRA, "managed-identity")
async def test_500_waiters_are_one_request(rig: Rig) -> None:
    first = await rig.signed_in()
    rig.clock.advance(2 * HOUR)
    asked = rig.asked()
    tokens = await asyncio.gather(*(rig.token() for _ in range(500)))

    assert len({*tokens}) == 1
    assert first not in tokens
    assert rig.asked() - asked == 1


@each(*PEOPLE)
async def test_500_requests_wait_for_one_sign_in(rig: Rig) -> None:
    others = [asyncio.ensure_future(rig.token()) for _ in range(500)]
    token = await rig.signed_in()

    assert {*await asyncio.gather(*others)} == {token}
    assert rig.grants == [GRANTS[rig.method]]


def test_every_method_has_its_rows_or_asks_nobody_at_entra() -> None:
    from proxy.auth import METHODS

    elsewhere = {"anonymous", "auto", "token", "command", "azure-cli", "azd", "powershell"}

    assert {*BY_ENTRA, "managed-identity"} == METHODS.keys() - elsewhere
    assert CLINIC.id == SERVICE.home
