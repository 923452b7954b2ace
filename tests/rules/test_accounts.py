from __future__ import annotations

import pytest

from proxy.config import ServerConfig
from proxy.rules.accounts import (
    ELSEWHERE,
    PERSONAL_TENANT,
    Account,
    account_of,
    refused_by_name,
    refused_by_policy,
    refused_without_tenant,
)

HERE = "0c11a1c0-5a3d-4b0c-8000-000000000001"
THERE = "0c11a1c0-5a3d-4b0c-8000-000000000002"
BASE = "https://fhir.clinic.example"

MEMBER = Account("ada@clinic.example", HERE, HERE, f"1.{HERE}")
GUEST = Account("grace@partner.example", HERE, THERE, f"2.{THERE}")
PERSONAL = Account("joan@personal.example", PERSONAL_TENANT, PERSONAL_TENANT)
PERSONAL_GUEST = Account("joan@personal.example", HERE, PERSONAL_TENANT)
APP = Account("5e1271ce", HERE, HERE, is_app=True)


def config(**settings: object) -> ServerConfig:
    return ServerConfig.of({"base_url": BASE, **settings})


PERSON = {"tid": HERE, "scp": "user_impersonation", "upn": "a@b.example"}
CASES = [
    pytest.param({}, None, id="opaque"),
    pytest.param({"scp": "x"}, None, id="no tenant"),
    pytest.param(PERSON, Account("a@b.example", HERE, HERE), id="member"),
    pytest.param({**PERSON, "tid": HERE.upper()}, Account("a@b.example", HERE, HERE), id="capitals"),
    pytest.param({**PERSON, "idp": f"https://sts.windows.net/{THERE}/"}, Account("a@b.example", HERE, THERE), id="guest"),
    pytest.param({**PERSON, "idp": f"https://sts.windows.net/{HERE}/"}, Account("a@b.example", HERE, HERE), id="idp is home"),
    pytest.param({**PERSON, "idp": "live.com"}, Account("a@b.example", HERE, PERSONAL_TENANT), id="personal guest"),
    pytest.param({**PERSON, "idp": "google.com"}, Account("a@b.example", HERE, ELSEWHERE), id="guest of another provider"),
    pytest.param({**PERSON, "acct": 1}, Account("a@b.example", HERE, ELSEWHERE), id="guest by acct"),
    pytest.param({**PERSON, "acct": 0}, Account("a@b.example", HERE, HERE), id="member by acct"),
    pytest.param({**PERSON, "upn": "a_b.example#EXT#@c.example"}, Account("a_b.example#EXT#@c.example", HERE, ELSEWHERE), id="guest by upn"),
    pytest.param({"tid": HERE, "scp": "x", "unique_name": "live.com#a@b.example"}, Account("a@b.example", HERE, PERSONAL_TENANT), id="personal by name"),
    pytest.param({"tid": HERE, "scp": "x"}, Account("", HERE, HERE), id="person without name"),
    pytest.param({"tid": HERE, "appid": "x"}, Account("x", HERE, HERE, is_app=True), id="app"),
    pytest.param({**PERSON, "idtyp": "app", "azp": "y"}, Account("y", HERE, HERE, is_app=True), id="app that says so"),
]  # fmt: skip


@pytest.mark.parametrize(("claims", "account"), CASES)
def test_token_tells_whose_it_is(claims: dict[str, object], account: Account | None) -> None:
    assert account == account_of(claims)


ORGANIZATION = {"require_organizational_account": True}
EXPECTED = {"expect_tenant": HERE.upper()}
POLICIES = [
    pytest.param({}, [None, MEMBER, GUEST, PERSONAL, PERSONAL_GUEST, APP], id="none"),
    pytest.param(ORGANIZATION, [MEMBER, APP], id="organization"),
    pytest.param(EXPECTED, [MEMBER, GUEST, PERSONAL_GUEST, APP], id="tenant"),
    pytest.param({"expect_tenant": THERE}, [], id="another tenant"),
    pytest.param({**ORGANIZATION, **EXPECTED}, [MEMBER, APP], id="both"),
]


@pytest.mark.parametrize(("settings", "welcome"), POLICIES)
def test_policy_lets_in_whom_it_should(settings: dict[str, object], welcome: list[Account | None]) -> None:
    everybody = [None, MEMBER, GUEST, PERSONAL, PERSONAL_GUEST, APP]

    assert welcome == [one for one in everybody if refused_by_policy(one, config(**settings)) is None]


@pytest.mark.parametrize("name", ["", "ada@clinic.example", "ADA@Clinic.Example", f"1.{HERE}"])
def test_named_account_is_welcome(name: str) -> None:
    assert refused_by_name(MEMBER, config(account=name)) is None


@pytest.mark.parametrize("name", ["mary@clinic.example", "ada", f"2.{THERE}"])
def test_another_account_is_refused_by_both_names(name: str) -> None:
    refused = refused_by_name(MEMBER, config(account=name))

    assert refused is not None
    assert MEMBER.username in refused.message
    assert name in refused.message


def test_without_a_tenant_only_its_own_accounts_make_sense() -> None:
    everybody = [MEMBER, GUEST, PERSONAL, PERSONAL_GUEST, APP]
    refused = [refused_without_tenant(one, config()) for one in everybody]

    assert [True, False, False, False, True] == [one is None for one in refused]
    assert all("--tenant" in one.fix and "Nothing was sent" in one.message for one in refused if one)
