from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import ServerConfig
from proxy.model import Challenge
from proxy.rules.tokens import PERSONAL_TENANT, token_findings, unverified_claims

BASE = "https://fhir.clinic.example"
TENANT = "0c11a1c0-5a3d-4b0c-8000-000000000001"
OTHER_TENANT = "0c11a1c0-5a3d-4b0c-8000-000000000002"
APPLICATION = "5e1271ce-5a3d-4b0c-8000-000000000002"
GRAPH = "00000003-0000-0000-c000-000000000000"
NOW = 1_800_000_000.0
GOOD = {
    "aud": BASE,
    "tid": TENANT,
    "scp": "user_impersonation",
    "iat": NOW - 10,
    "nbf": NOW - 10,
    "exp": NOW + 3600,
}


def config(**changes: object) -> ServerConfig:
    return ServerConfig.of({"base_url": BASE, **changes})


def jwt(payload: bytes) -> str:
    return f"e30.{base64.urlsafe_b64encode(payload).rstrip(b'=').decode()}.signature"


# claims that differ, settings, subjects of the findings
CASES = [
    pytest.param({}, {}, [], id="all is well"),
    pytest.param({"aud": f"{BASE}/"}, {}, [], id="a slash at the end"),
    pytest.param({"aud": BASE.upper()}, {}, [], id="case"),
    pytest.param({"aud": None}, {}, [], id="no audience"),
    pytest.param({"aud": "https://other.example"}, {}, ["audience"], id="another audience"),
    pytest.param({"aud": "https://other.example"}, {"audience": "https://other.example"}, [], id="as configured"),
    pytest.param({"aud": APPLICATION}, {"audience": f"api://{APPLICATION}"}, [], id="application id of api://"),
    pytest.param({"aud": APPLICATION}, {}, [], id="a token of version 2 names the application"),
    pytest.param({"aud": APPLICATION, "ver": "1.0"}, {}, ["audience"], id="a token of version 1 names what was asked for"),
    pytest.param({"tid": PERSONAL_TENANT}, {}, ["tenant"], id="a personal account"),
    pytest.param({"aud": GRAPH}, {}, ["audience"], id="Graph is never the server"),
    pytest.param({"aud": OTHER_TENANT}, {"audience": APPLICATION}, ["audience"], id="another application"),
    pytest.param({}, {"tenant": TENANT}, [], id="the configured tenant"),
    pytest.param({}, {"tenant": TENANT.upper()}, [], id="the configured tenant in capitals"),
    pytest.param({}, {"tenant": OTHER_TENANT}, ["tenant"], id="another tenant"),
    pytest.param({}, {"tenant": "clinic.example"}, [], id="a domain cannot be compared"),
    pytest.param({}, {"authority": f"https://localhost:1/{OTHER_TENANT}"}, ["tenant"], id="an authority's tenant"),
    pytest.param({"tid": None}, {"tenant": TENANT}, [], id="no tenant"),
    pytest.param({"scp": "openid user_impersonation"}, {}, [], id="among others"),
    pytest.param({"scp": "patient/*.read"}, {}, ["scope"], id="another scope"),
    pytest.param({"scp": "user_impersonations"}, {}, ["scope"], id="almost the scope"),
    pytest.param({"scp": None, "roles": ["reader"]}, {}, [], id="an app with a role"),
    pytest.param({"scp": None}, {}, [], id="an app without roles: Azure RBAC needs none"),
    pytest.param({"scp": None, "idtyp": "user"}, {}, ["scope"], id="a person without scope"),
    pytest.param({"nbf": NOW + 299, "iat": NOW + 299}, {}, [], id="clocks differ a little"),
    pytest.param({"nbf": NOW + 400}, {}, ["clock"], id="our clock is slow"),
    pytest.param({"iat": NOW + 400}, {}, ["clock"], id="our clock is slow, by iat"),
    pytest.param({"exp": NOW - 1}, {}, ["clock"], id="over already"),
    pytest.param({"exp": "soon", "nbf": True}, {}, [], id="no moments"),
    pytest.param({"aud": "x", "tid": OTHER_TENANT, "scp": "x"}, {"tenant": TENANT}, ["audience", "tenant", "scope"], id="all of it"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "settings", "subjects"), CASES)
def test_what_is_off_is_found(
    changes: dict[str, object], settings: dict[str, object], subjects: list[str]
) -> None:
    claims = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    findings = token_findings(claims, config(**settings), now=NOW)

    assert subjects == [finding.subject for finding in findings]
    assert all(finding.message.endswith(".") and finding.fix.endswith(".") for finding in findings)


CHALLENGE = Challenge(
    "bearer",
    {"authorization_uri": f"https://login.microsoftonline.com/{TENANT}", "resource_id": BASE, "realm": BASE},
)

# claims that differ, words of the message, words of the fix
CHALLENGED = [
    pytest.param({}, "", "", id="all is well"),
    pytest.param({"aud": f"{BASE}/"}, "expects the audience", f"--audience {BASE}.", id="a slash at the end"),
    pytest.param({"aud": "https://graph.microsoft.com"}, "expects the audience", f"--audience {BASE}.", id="Graph"),
    pytest.param({"aud": APPLICATION, "ver": "2.0"}, "", "", id="a token of version 2 names the application"),
    pytest.param({"aud": APPLICATION, "ver": "1.0"}, "expects the audience", "--audience", id="version 1 does not"),
    pytest.param({"tid": OTHER_TENANT}, f"of the tenant {OTHER_TENANT}", f"--tenant {TENANT}", id="another tenant"),
    pytest.param({"tid": TENANT.upper()}, "", "", id="the tenant in capitals"),
    pytest.param({"tid": None}, "", "", id="no tenant"),
    pytest.param({"scp": "Patient.Read"}, "holds 'Patient.Read'", "API permission", id="another scope"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message", "fix"), CHALLENGED)
def test_what_the_server_has_said_counts_before_the_settings(
    changes: dict[str, object], message: str, fix: str
) -> None:
    claims = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    found = token_findings(
        claims,
        config(audience="api://else", tenant=OTHER_TENANT),
        now=NOW,
        challenges=(CHALLENGE,),
        tenant=TENANT,
    )

    assert (1 if message else 0) == len(found)
    assert message in "".join(one.message for one in found)
    assert fix in "".join(one.fix for one in found)


@pytest.mark.parametrize("tenant", ["clinic.example", "", "organizations"])
def test_name_of_a_tenant_cannot_be_compared(tenant: str) -> None:
    assert token_findings({**GOOD, "tid": OTHER_TENANT}, config(), now=NOW, tenant=tenant) == ()


def test_finding_names_both_sides() -> None:
    (finding,) = token_findings({**GOOD, "aud": "https://other.example"}, config(), now=NOW)

    assert "https://other.example" in str(finding)
    assert BASE in str(finding)
    assert "--audience" in str(finding)


@pytest.mark.parametrize(
    "token", ["", "opaque", "a.b", "a.b.c", "a.b.c.d.e", jwt(b"[]"), jwt(b"\xff"), jwt(b"[" * 9999)]
)
def test_opaque_token_says_nothing(token: str) -> None:
    assert unverified_claims(token) == {}
    assert token_findings({}, config(), now=NOW) == ()


@given(st.dictionaries(st.text(), st.one_of(st.none(), st.booleans(), st.integers(), st.text())))
def test_claims_are_read_as_written(claims: dict[str, object]) -> None:
    assert claims == unverified_claims(jwt(json.dumps(claims).encode()))


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: st.one_of(
                st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text())
            )
            for name in ("aud", "tid", "scp", "iat", "nbf", "exp", "idtyp")
        },
    )
)
def test_whatever_a_token_says_is_looked_at_without_harm(claims: dict[str, object]) -> None:
    findings = token_findings(claims, config(), now=NOW, challenges=(CHALLENGE,), tenant=TENANT)

    assert len({finding.subject for finding in findings}) == len(findings)
