from __future__ import annotations

from dataclasses import dataclass

import pytest
from jwt import ExpiredSignatureError, PyJWTError

from proxy.sandbox.fhir import Claims, RejectToken

from .fhir_running import running

AUTHORITY = "https://login.example/tenant"


@dataclass(frozen=True)
class Token:
    scp: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


TOKENS = {
    "user": Token(scp=("user_impersonation",)),
    "other-scope": Token(scp=("openid",)),
    "app": Token(),
    "app-with-role": Token(roles=("FHIR Data Reader",)),
}


class Tokens:
    """A verifier that knows a few tokens and records the audience that was expected."""

    def __init__(self) -> None:
        self.audiences: list[str] = []

    def __call__(self, token: str, audience: str) -> Claims:
        self.audiences.append(audience)
        if token == "expired":
            raise ExpiredSignatureError('Signature has "expired"\r\nX: ü')
        if token not in TOKENS:
            raise ValueError("unknown token")
        return TOKENS[token]


def challenge(audience: str, suffix: str = "") -> str:
    return f'Bearer authorization_uri="{AUTHORITY}", resource_id="{audience}", realm="{audience}"{suffix}'


REFUSED = (
    # Authorization, what the challenge says more
    (None, ""),
    ("Basic dXNlcjpwYXNz", ""),
    ("Bearer", ""),
    ("Bearer nonsense", ', error="invalid_token", error_description="unknown token"'),
    ("bearer expired", ', error="invalid_token", error_description="Signature has \'expired\'??X: ?"'),
)


@pytest.mark.parametrize(("authorization", "suffix"), REFUSED)
async def test_a_request_without_a_valid_token_is_challenged(authorization: str | None, suffix: str) -> None:
    refusals = (PyJWTError, ValueError)
    async with running(verify=Tokens(), refusals=refusals, authority=AUTHORITY, patients=1) as ask:
        fields = {"Authorization": authorization} if authorization else {}
        answer = await ask("GET", "Patient", **fields)

        assert answer.status == 401
        assert challenge(ask.server.base_url, suffix) == answer.fields["WWW-Authenticate"]
        assert answer.json["issue"][0] == {
            "severity": "error",
            "code": "login",
            "diagnostics": "Authentication failed.",
        }


ADMITTED = (
    # token, role that apps need, status
    ("user", "", 200),
    ("user", "FHIR Data Writer", 200),
    ("other-scope", "", 403),
    ("app", "", 200),
    ("app", "FHIR Data Reader", 403),
    ("app-with-role", "FHIR Data Reader", 200),
)


@pytest.mark.parametrize(("token", "role", "status"), ADMITTED)
async def test_scope_or_role_decides(token: str, role: str, status: int) -> None:
    async with running(verify=Tokens(), authority=AUTHORITY, role=role, patients=1) as ask:
        answer = await ask("GET", "Patient", Authorization=f"Bearer {token}")

        assert status == answer.status
        assert status == 200 or answer.json["issue"][0]["code"] == "forbidden"
        assert "WWW-Authenticate" not in answer.fields


async def test_the_audience_is_the_base_url_unless_configured() -> None:
    tokens = Tokens()
    async with running(verify=tokens, authority=AUTHORITY, patients=1, base_path="/fhir") as ask:
        await ask("GET", "Patient", Authorization="Bearer user")
        assert [ask.server.base_url] == tokens.audiences
    async with running(
        verify=tokens, authority=AUTHORITY, patients=1, audience="https://other.example"
    ) as ask:
        answer = await ask("GET", "Patient", Authorization="Bearer wrong")

        assert tokens.audiences[-1] == "https://other.example"
        assert challenge("https://other.example", ", error=")[:-1] in answer.fields["WWW-Authenticate"]


@pytest.mark.parametrize("path", ["metadata", ".well-known/smart-configuration", "$versions", "health/check"])
async def test_what_the_server_says_of_itself_needs_no_token(path: str) -> None:
    async with running(verify=Tokens(), authority=AUTHORITY, patients=1) as ask:
        assert (await ask("GET", path)).status == 200


async def test_a_write_without_a_token_stores_nothing() -> None:
    async with running(verify=Tokens(), authority=AUTHORITY, patients=1) as ask:
        refused = await ask("PUT", "Patient/new", {"resourceType": "Patient", "id": "new"})
        missing = await ask("GET", "Patient/new", Authorization="Bearer user")

        assert (refused.status, missing.status) == (401, 404)


async def test_a_valid_token_is_rejected_once_on_demand() -> None:
    async with running(verify=Tokens(), authority=AUTHORITY, patients=1) as ask:
        ask.server.faults.append(RejectToken("gone"))
        answers = [await ask("GET", "Patient", Authorization="Bearer user") for _ in range(2)]

        assert [answer.status for answer in answers] == [401, 200]
        assert (
            answers[0].fields["WWW-Authenticate"].endswith('error="invalid_token", error_description="gone"')
        )
