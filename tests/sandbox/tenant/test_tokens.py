from __future__ import annotations

import base64
import json

import jwt
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from proxy.sandbox.tenant import PARTNER, InvalidToken, Tenant
from proxy.sandbox.tenant.tokens import Signer

from .calling import APPLICATION, AUDIENCE, ask
from .conftest import MovableClock

NOW = 1_800_000_000.0
SIGNER = Signer()
ISSUER = "https://issuer.example/"
CLAIMS = {
    "aud": AUDIENCE,
    "iss": ISSUER,
    "tid": "t",
    "oid": "o",
    "appid": "a",
    "scp": "user_impersonation other",
    "ver": "1.0",
    "iat": NOW,
    "nbf": NOW,
    "exp": NOW + 60,
}


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def tampered() -> str:
    header, _, signature = SIGNER.sign(CLAIMS).split(".")
    return f"{header}.{part({**CLAIMS, 'oid': 'someone else'})}.{signature}"


def test_claims_are_read() -> None:
    claims = SIGNER.verify(SIGNER.sign(CLAIMS), AUDIENCE, {ISSUER}, NOW)

    assert (claims.scp, claims.roles, claims.appid) == (("user_impersonation", "other"), (), "a")


@pytest.mark.parametrize(
    ("token", "now", "reason"),
    [
        (SIGNER.sign({**CLAIMS, "aud": f"{AUDIENCE}/"}), NOW, "audience 'https://fhir.clinic.example/'"),
        (SIGNER.sign({**CLAIMS, "iss": "https://other.example/"}), NOW, "issuer 'https://other.example/'"),
        (SIGNER.sign({**CLAIMS, "appid": ""}), NOW, "not an access token"),
        (SIGNER.sign(CLAIMS), NOW + 60, "expired 0 seconds ago"),
        (SIGNER.sign(CLAIMS), NOW - 5, "not valid for another 5 seconds"),
        (Signer().sign(CLAIMS), NOW, "signature"),
        (tampered(), NOW, "signature"),
        (jwt.encode(CLAIMS, "s" * 32, "HS256"), NOW, "RS256"),
        (f"{part({'alg': 'none'})}.{part(CLAIMS)}.", NOW, "RS256"),
        ("", NOW, "not a signed JWT"),
        ("a.b.c", NOW, "not a signed JWT"),
    ],
)
def test_token_that_a_server_must_refuse(token: str, now: float, reason: str) -> None:
    with pytest.raises(InvalidToken) as refused:
        SIGNER.verify(token, AUDIENCE, {ISSUER}, now)

    assert reason in refused.value.reason
    assert not token or token not in refused.value.reason


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_no_text_is_a_token(text: str) -> None:
    with pytest.raises(InvalidToken):
        SIGNER.verify(text, AUDIENCE, {ISSUER}, NOW)


async def test_token_expires_by_the_tenants_clock(
    tenant: Tenant, session: requests.Session, clock: MovableClock
) -> None:
    token = (await ask(tenant, session, APPLICATION)).json()["access_token"]

    clock.now += 3600

    with pytest.raises(InvalidToken, match="expired"):
        tenant.verify(token, AUDIENCE)


async def test_directories_do_not_trust_each_other(tenant: Tenant, session: requests.Session) -> None:
    token = (await ask(tenant, session, APPLICATION)).json()["access_token"]

    with pytest.raises(InvalidToken, match="issuer"):
        tenant.verify(token, AUDIENCE, PARTNER)
