from __future__ import annotations

import logging
import sys
from collections.abc import Callable

import jwt
import pytest

from proxy.auth import Seams, authenticator
from proxy.auth.gate import Gate
from proxy.config import ServerConfig
from proxy.errors import AuthenticationFailed
from proxy.model import Credentials, Rejection, ResponseHead
from proxy.model import Fields as NoFields
from proxy.sandbox.tenant import CLINIC, MEMBER, PARTNER, Tenant

from ..fakes.clock import FakeClock
from .conftest import BASE_URL, Probes, Settings, token_of

KEY = "not a secret, and long enough for what signs with it"


def bearer(**claims: object) -> Credentials:
    return Credentials(b"Bearer " + jwt.encode(claims, KEY).encode())


class FakeAuthenticator:
    """Gives what the test puts in."""

    def __init__(self, credentials: Credentials | None) -> None:
        self.given = credentials
        self.rejected: Rejection | None = None
        self.is_closed = False

    async def credentials(self, rejected: Rejection | None = None) -> Credentials | None:
        self.rejected = rejected
        return self.given

    async def close(self) -> None:
        self.is_closed = True


async def test_good_token_says_nothing(app_settings: Settings, seams: Seams, lines: list[str]) -> None:
    signing = authenticator(app_settings(), seams)
    await token_of(signing)
    await signing.close()

    assert (signing.findings, lines) == ((), [])
    assert signing.claims["tid"] == CLINIC.id


async def test_what_is_off_is_told_once_and_blocks_nothing(
    app_settings: Settings, seams: Seams, lines: list[str]
) -> None:
    inner = FakeAuthenticator(bearer(aud="https://other.example", n=1))
    gate = Gate(inner, app_settings(), seams)
    given = [await gate.credentials(), await gate.credentials()]
    inner.given = bearer(aud="https://other.example", n=2)
    given.append(await gate.credentials())

    assert all(given)
    assert ["audience"] == [finding.subject for finding in gate.findings]
    assert len(lines) == 1
    assert "warning" in lines[0]
    assert "https://other.example" in lines[0]


async def test_what_comes_back_is_told_again(app_settings: Settings, seams: Seams, lines: list[str]) -> None:
    inner = FakeAuthenticator(bearer(aud="https://other.example"))
    gate = Gate(inner, app_settings(), seams)
    for audience in ("https://other.example", BASE_URL, "https://other.example"):
        inner.given = bearer(aud=audience)
        await gate.credentials()

    assert len(lines) == 2


async def test_without_a_person_the_log_is_told(
    app_settings: Settings,
    clock: FakeClock,
    seams: Seams,
    lines: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    seams = Seams(clock, seams.browser, lines.append, attended=False)
    gate = Gate(FakeAuthenticator(bearer(scp="other")), app_settings(), seams)
    with caplog.at_level(logging.WARNING):
        await gate.credentials()

    assert lines == []
    assert "user_impersonation" in caplog.text


async def test_opaque_token_passes(app_settings: Settings, seams: Seams, lines: list[str]) -> None:
    gate = Gate(FakeAuthenticator(Credentials(b"Bearer opaque")), app_settings(), seams)

    assert await gate.credentials() == Credentials(b"Bearer opaque")
    assert (gate.claims, gate.findings, lines) == ({}, (), [])


async def test_rejection_and_close_go_on_to_the_method(app_settings: Settings, seams: Seams) -> None:
    inner = FakeAuthenticator(None)
    gate = Gate(inner, app_settings(), seams)
    rejected = Rejection(None)
    await gate.credentials(rejected)
    await gate.close()

    assert inner.rejected is rejected
    assert inner.is_closed


PERSON = {"tid": CLINIC.id, "scp": "user_impersonation", "upn": "ada@clinic.example"}
FORBIDDEN = [
    pytest.param({"expect_tenant": PARTNER.id}, bearer(**PERSON), id="another tenant"),
    pytest.param({"expect_tenant": CLINIC.id}, Credentials(b"Bearer opaque"), id="no tenant to see"),
    pytest.param({"require_organizational_account": True}, None, id="open server"),
    pytest.param({"require_organizational_account": True}, Credentials(b"Bearer opaque"), id="nobody to see"),
    pytest.param({"require_organizational_account": True}, bearer(**PERSON, idp="live.com"), id="personal"),
    pytest.param({"require_organizational_account": True}, bearer(**PERSON, acct=1), id="guest"),
    pytest.param({"account": "mary@clinic.example"}, bearer(**PERSON), id="another account"),
]


@pytest.mark.parametrize(("settings", "credentials"), FORBIDDEN)
async def test_what_the_settings_forbid_never_comes_out(
    app_settings: Settings, seams: Seams, settings: dict[str, object], credentials: Credentials | None
) -> None:
    gate = Gate(FakeAuthenticator(credentials), app_settings(auth="token", token="t", **settings), seams)

    for _ in range(2):
        with pytest.raises(AuthenticationFailed) as raised:
            await gate.credentials()
        assert raised.value.hint


MADE_ELSEWHERE = [
    pytest.param(lambda token: {"token": token}, id="token"),
    pytest.param(
        lambda token: {"command": [sys.executable, "-c", "import sys; print(sys.argv[1])", token]},
        id="command",
    ),
]


@pytest.mark.parametrize("given", MADE_ELSEWHERE)
@pytest.mark.parametrize("auth", ["auto", "named"])
async def test_tokens_made_elsewhere_are_of_the_account_that_the_settings_name(
    seams: Seams, auth: str, given: Callable[[str], dict[str, object]]
) -> None:
    credentials = bearer(**PERSON)
    settings = given(credentials.authorization.partition(b" ")[2].decode())
    method = "auto" if auth == "auto" else next(iter(settings))
    config = ServerConfig.of({"base_url": BASE_URL, "auth": method, "account": PERSON["upn"], **settings})
    welcome = authenticator(config, seams)
    other = authenticator(config.replace(account="mary@clinic.example"), seams)
    for _ in range(2):
        with pytest.raises(AuthenticationFailed, match=r"mary@clinic\.example is the account to use"):
            await other.credentials()

    assert await welcome.credentials() == credentials
    await welcome.close()
    await other.close()


async def test_account_may_be_named_by_what_a_token_does_not_tell_where_a_person_signs_in(
    tenant: Tenant, person_settings: Settings, seams: Seams
) -> None:
    home_account_id = f"{MEMBER.object_id(CLINIC.id)}.{CLINIC.id}"
    signing = authenticator(person_settings(auth="auto", account=home_account_id), seams)

    assert tenant.verify(await token_of(signing), BASE_URL)
    await signing.close()


async def test_better_credentials_open_the_gate_again(app_settings: Settings, seams: Seams) -> None:
    inner = FakeAuthenticator(bearer(**PERSON))
    gate = Gate(inner, app_settings(expect_tenant=PARTNER.id), seams)
    with pytest.raises(AuthenticationFailed, match=CLINIC.id):
        await gate.credentials()
    inner.given = bearer(**{**PERSON, "tid": PARTNER.id})

    assert await gate.credentials() == inner.given


async def test_app_of_the_organization_is_welcome(
    tenant: Tenant, app_settings: Settings, seams: Seams
) -> None:
    policy = {
        "require_organizational_account": True,
        "expect_tenant": CLINIC.id,
        "account": "ada@clinic.example",
    }
    signing = authenticator(app_settings(**policy), seams)

    assert tenant.verify(await token_of(signing), BASE_URL)
    await signing.close()


async def test_open_server_is_no_organizations(app_settings: Settings, seams: Seams, probe: Probes) -> None:
    probe.head = ResponseHead(200, b"OK", NoFields())
    signing = authenticator(app_settings(auth="auto", require_organizational_account=True), seams)
    with pytest.raises(AuthenticationFailed, match="answers without sign-in"):
        await signing.credentials()
    await signing.close()


class HoldingAuthenticator(FakeAuthenticator):
    """Has at hand what it gives."""

    def held(self) -> Credentials | None:
        return self.given


async def test_credentials_at_hand_have_been_looked_at(app_settings: Settings, seams: Seams) -> None:
    inner = HoldingAuthenticator(bearer(n=1))
    gate = Gate(inner, app_settings(), seams)

    assert gate.held() is None
    assert gate.held() is not await gate.credentials()
    assert gate.held() is inner.given

    inner.given = bearer(n=2)
    assert gate.held() is None


async def test_forbidden_credentials_are_never_at_hand(app_settings: Settings, seams: Seams) -> None:
    inner = HoldingAuthenticator(bearer(tid=PARTNER.id))
    gate = Gate(inner, app_settings(expect_tenant=CLINIC.id), seams)
    with pytest.raises(AuthenticationFailed):
        await gate.credentials()

    assert gate.held() is None


async def test_of_others_nothing_is_at_hand(app_settings: Settings, seams: Seams) -> None:
    gate = Gate(FakeAuthenticator(bearer(n=1)), app_settings(), seams)
    await gate.credentials()

    assert gate.held() is None
