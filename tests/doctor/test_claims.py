from __future__ import annotations

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import ServerConfig
from proxy.doctor.claims import PERSONAL_ACCOUNTS, Claims, remarks
from proxy.model import Challenge, Credentials

BASE_URL = "https://fhir.example"
OURS = "0c11a1c0-5a3d-4b0c-8000-000000000001"
OTHER = "0c11a1c0-5a3d-4b0c-8000-000000000002"
API = "0c11a1c0-5a3d-4b0c-8000-0000000000a1"
NOW = 1_800_000_000.0

CHALLENGE = Challenge(
    "bearer",
    {
        "authorization_uri": f"https://login.microsoftonline.com/{OURS}",
        "resource_id": BASE_URL,
        "realm": BASE_URL,
    },
)
GOOD: dict[str, object] = {
    "aud": BASE_URL,
    "tid": OURS,
    "ver": "1.0",
    "scp": "user_impersonation",
    "upn": "ada@clinic.example",
    "oid": OTHER,
    "exp": NOW + 60,
}


def token(**changes: object) -> Credentials:
    claims = {name: value for name, value in (GOOD | changes).items() if value is not None}
    return Credentials(b"Bearer " + jwt.encode(claims, "k" * 32).encode())


def read(**changes: object) -> Claims:
    claims = Claims.of(token(**changes))
    assert claims is not None
    return claims


REMARKS = [
    # what the token says, whether challenged, words of the cause, words of the fix
    ({}, True, "", ""),
    ({}, False, "", ""),
    ({"aud": f"{BASE_URL}/"}, False, "", ""),
    ({"aud": f"{BASE_URL}/"}, True, "expects the audience", f"--audience {BASE_URL}"),
    ({"aud": "https://graph.microsoft.com"}, True, "expects the audience", f"--audience {BASE_URL}"),
    ({"aud": "https://other.example"}, False, "is for the audience 'https://other.example'", "--audience"),
    ({"aud": API, "ver": "2.0"}, True, "", ""),
    ({"aud": API}, True, "expects the audience", f"--audience {BASE_URL}"),
    ({"tid": OTHER}, True, f"of the tenant {OTHER}", f"--tenant {OURS}"),
    ({"tid": OTHER}, False, "", ""),
    ({"tid": OURS.upper()}, True, "", ""),
    ({"tid": PERSONAL_ACCOUNTS}, False, "personal Microsoft account", "work or school"),
    ({"scp": "Patient.Read"}, True, "permits 'Patient.Read'", "permission"),
    ({"scp": "openid user_impersonation"}, True, "", ""),
    ({"scp": None, "idtyp": "app"}, True, "", ""),
    ({"exp": NOW - 90}, True, "expired 90 seconds ago", "clock"),
    ({"exp": None}, True, "", ""),
]


@pytest.mark.parametrize(("said", "is_challenged", "cause", "fix"), REMARKS)
def test_remark_names_what_is_off_and_the_way_out(
    said: dict[str, object], is_challenged: bool, cause: str, fix: str
) -> None:
    config = ServerConfig.model_validate({"base_url": BASE_URL})
    found = remarks(config, (CHALLENGE,) if is_challenged else (), read(**said), NOW)

    assert (1 if cause else 0) == len(found)
    assert cause in "".join(one.cause for one in found)
    assert fix in "".join(one.fix for one in found)


ACCOUNTS = [
    ({}, "ada@clinic.example"),
    ({"upn": None, "preferred_username": "ada"}, "ada"),
    ({"upn": None}, OTHER),
    ({"upn": None, "scp": None, "idtyp": "app", "appid": API}, f"the app {API}"),
    ({"upn": None, "scp": None, "azp": API, "ver": "2.0"}, f"the app {API}"),
    ({"appid": API}, "ada@clinic.example"),
]


@pytest.mark.parametrize(("said", "account"), ACCOUNTS)
def test_account_is_named_as_people_know_it(said: dict[str, object], account: str) -> None:
    assert account == read(**said).account


def test_details_show_who_and_for_what_but_no_other_claim() -> None:
    details = read(roles=["a", "b"], name="Ada Member", rh="internal").details()

    assert details == {
        "aud": BASE_URL,
        "exp": "2027-01-15 08:01:00 UTC",
        "oid": OTHER,
        "roles": "a b",
        "scp": "user_impersonation",
        "tid": OURS,
        "upn": "ada@clinic.example",
        "ver": "1.0",
    }


@pytest.mark.parametrize("text", [b"Bearer opaque", b"Bearer a.b.c", b"Basic dTpw", b"Bearer "])
def test_opaque_token_says_nothing(text: bytes) -> None:
    assert Claims.of(Credentials(text)) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["aud", "tid", "scp", "roles", "exp", "oid", "upn", "ver", "idtyp"]), JSON
    )
)
def test_every_token_can_be_read(said: dict[str, object]) -> None:
    claims = Claims.of(Credentials(b"Bearer " + jwt.encode(said, "k" * 32).encode("ascii")))
    config = ServerConfig.model_validate({"base_url": BASE_URL})

    assert claims is not None
    for remark in remarks(config, (CHALLENGE,), claims, NOW):
        assert remark.cause
        assert remark.fix
    assert all(isinstance(text, str) for text in claims.details().values())
