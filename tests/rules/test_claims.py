from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import Credentials
from proxy.rules.claims import Identity, account_name, claims_of, identity, shown


def bearer(payload: bytes) -> Credentials:
    return Credentials(b"Bearer e30." + base64.urlsafe_b64encode(payload).rstrip(b"=") + b".c2ln")


TOKENS = [
    # Entra's versions of tokens
    (
        {"preferred_username": "ada@example.org", "azp": "app", "tid": "t", "exp": 1_800_000_000},
        Identity("ada@example.org", "app", "t", 1_800_000_000.0),
    ),
    (
        {"upn": "ada@example.org", "unique_name": "ADA", "appid": "app", "tid": "t", "exp": 1.5},
        Identity("ada@example.org", "app", "t", 1.5),
    ),
    ({"unique_name": "live.com#guest@example.net"}, Identity("live.com#guest@example.net")),
    # What is no text, no moment, or no one line
    ({"upn": 1, "appid": ["app"], "tid": None, "exp": "soon"}, Identity()),
    ({"exp": True}, Identity()),
    ({"exp": -1}, Identity()),
    ({"exp": 10**15}, Identity()),
    ({"name": "Ada\r\nSet-Cookie: x\x1b[31m"}, Identity("Ada Set-Cookie: x [31m")),
    ([], Identity()),
]


@pytest.mark.parametrize(("claims", "expected"), TOKENS)
def test_identity_of_a_token(claims: object, expected: Identity) -> None:
    assert expected == identity(bearer(json.dumps(claims).encode()))


OTHERS = [
    b"Basic YTpi",
    b"Bearer opaque",
    b"Bearer a.b.c",
    b"Bearer a.b.c.d.e",
    b"Bearer ..",
    b"",
    b"Bearer ",
]


@pytest.mark.parametrize("authorization", OTHERS)
def test_what_is_no_jwt_tells_nothing(authorization: bytes) -> None:
    assert Identity() == identity(Credentials(authorization))
    assert claims_of(Credentials(authorization)) == {}


APP = "0c11a1c0-5a3d-4b0c-8000-0000000000a1"
ADA = {
    "aud": "https://fhir.example",
    "tid": "t",
    "ver": "1.0",
    "scp": "user_impersonation",
    "upn": "ada@clinic.example",
    "oid": "ada-7",
    "exp": 1_800_000_060.0,
}

ACCOUNTS = [
    ({}, "ada@clinic.example"),
    ({"upn": None, "preferred_username": "ada"}, "ada"),
    ({"upn": None}, "ada-7"),
    ({"upn": None, "scp": None, "idtyp": "app", "appid": APP}, f"the app {APP}"),
    ({"upn": None, "scp": None, "azp": APP, "ver": "2.0"}, f"the app {APP}"),
    ({"appid": APP}, "ada@clinic.example"),
]


@pytest.mark.parametrize(("changes", "account"), ACCOUNTS)
def test_account_is_named_as_people_know_it(changes: dict[str, object], account: str) -> None:
    claims = {name: value for name, value in {**ADA, **changes}.items() if value is not None}

    assert account == account_name(claims)


def test_person_is_shown_who_and_for_what_and_no_other_claim() -> None:
    claims = {**ADA, "roles": ["a", "b"], "name": "Ada Member", "rh": "internal"}

    assert shown(claims) == {**ADA, "roles": "a b", "exp": "2027-01-15 08:01:00 UTC"}


@given(st.binary())
def test_any_bytes_are_read_without_a_fault(payload: bytes) -> None:
    identity(bearer(payload))
    identity(Credentials(b"Bearer " + payload))


@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda c: st.dictionaries(st.text(), c))
)
def test_any_json_is_read_as_one_line(claims: object) -> None:
    said = bearer(json.dumps({"name": claims, "exp": claims, "roles": [claims], "aud": claims}).encode())

    assert identity(said).account.isprintable()
    assert account_name(claims_of(said)).isprintable()
    assert all(text.isprintable() for text in shown(claims_of(said)).values())
