from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from proxy.auth import Seams, authenticator
from proxy.errors import AuthenticationFailed, ConfigError, IdentityProviderUnavailable
from proxy.model import Fields, Rejection, ResponseHead
from proxy.sandbox.tenant import SERVICE, Client, FederatedCredential, Tenant

from ..fakes.clock import FakeClock
from .conftest import BASE_URL, Probes, Settings, token_of
from .keys import rsa_key, written

ISSUER, SUBJECT = "https://cluster.example", "system:serviceaccount:etl:loader"
AUDIENCE = "api://AzureADTokenExchange"
KEY = rsa_key()
REQUEST_TOKEN = "hush-request-token"


def assertion(**changes: object) -> str:
    now = int(time.time())
    claims = {"iss": ISSUER, "sub": SUBJECT, "aud": AUDIENCE, "nbf": now, "exp": now + 600, **changes}
    return jwt.encode(claims, KEY, "RS256")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    written(file, assertion().encode())
    return file


@pytest.fixture
async def settings(tenant: Tenant, app_settings: Settings, file: Path) -> Settings:
    public = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    trusted = (FederatedCredential(ISSUER, SUBJECT, public),)
    tenant.register(Client(SERVICE.client_id, SERVICE.home, federated_credentials=trusted))

    def made(**changes: object) -> object:
        given = {"auth": "workload-identity", "client_secret": None, "federated_token_file": str(file)}
        return app_settings(**{**given, **changes})

    return made


async def test_app_signs_in(tenant: Tenant, settings: Settings, seams: Seams) -> None:
    signing = authenticator(settings(), seams)
    claims = tenant.verify(await token_of(signing), BASE_URL)
    await signing.close()

    assert claims.appid == SERVICE.client_id


async def test_file_is_read_each_time(settings: Settings, seams: Seams, clock: FakeClock, file: Path) -> None:
    written(file, assertion(exp=1_000_000_000).encode() + b"\n")
    signing = authenticator(settings(), seams)
    with pytest.raises(AuthenticationFailed, match="AADSTS700024"):
        await token_of(signing)
    written(file, assertion().encode())
    clock.advance(5)
    first = await signing.credentials()
    assert first is not None
    clock.advance(1)
    second = await signing.credentials(Rejection(first))
    await signing.close()

    assert second not in {None, first}


REFUSED = [
    ({"iss": "https://other.example"}, "AADSTS700211"),
    ({"sub": "system:serviceaccount:default:default"}, "AADSTS700213"),
    ({"aud": "api://other"}, "AADSTS700212"),
]


@pytest.mark.parametrize(("changes", "code"), REFUSED)
async def test_assertion_that_nobody_trusts_is_explained(
    settings: Settings, seams: Seams, file: Path, changes: dict[str, object], code: str
) -> None:
    written(file, assertion(**changes).encode())
    signing = authenticator(settings(), seams)
    with pytest.raises(AuthenticationFailed, match=code):
        await token_of(signing)
    await signing.close()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file"),
        (b" \n", "is empty"),
        (b"hush", r"does not hold one signed token \(a JWT\)"),
        (b"hush.hush hush.hush", "does not hold one signed token"),
        (b"\xff\xfehush", "is not UTF-8"),
    ],
)
async def test_unusable_file_is_explained_without_its_content(
    settings: Settings, seams: Seams, file: Path, content: bytes | None, words: str
) -> None:
    written(file, content)
    signing = authenticator(settings(), seams)
    with pytest.raises(AuthenticationFailed, match=words) as raised:
        await token_of(signing)
    await signing.close()

    assert str(file) in raised.value.message
    assert "hush" not in raised.value.message
    assert "service account" in raised.value.hint


class GitHub:
    """The token service of a job, as its documentation shows it."""

    def __init__(self) -> None:
        self.answer = web.json_response({"count": 1, "value": assertion()})
        self.url = ""
        self.asked: list[dict[str, str]] = []

    async def serve(self, request: web.Request) -> web.Response:
        self.asked.append(dict(request.query))
        if request.headers.get("Authorization") != f"bearer {REQUEST_TOKEN}":
            return web.Response(status=401)
        return self.answer


@pytest.fixture
async def github(tenant: Tenant) -> AsyncIterator[GitHub]:
    service = GitHub()
    application = web.Application()
    application.router.add_get("/token", service.serve)
    runner = web.AppRunner(application)
    await runner.setup()
    context = tenant.certificates.server_context("localhost")
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    service.url = f"https://127.0.0.1:{runner.addresses[0][1]}/token?api-version=2.0"
    yield service
    await runner.cleanup()


def job(github: GitHub, **changes: object) -> dict[str, object]:
    return {
        "federated_token_file": "",
        "github_token_url": github.url,
        "github_token": REQUEST_TOKEN,
        **changes,
    }


async def test_github_job_signs_in(tenant: Tenant, settings: Settings, seams: Seams, github: GitHub) -> None:
    signing = authenticator(settings(**job(github)), seams)
    claims = tenant.verify(await token_of(signing), BASE_URL)
    await signing.close()

    assert claims.appid == SERVICE.client_id
    assert [{"api-version": "2.0", "audience": AUDIENCE}] == github.asked


GITHUB_REFUSALS = [
    ({"github_token": "other"}, None, AuthenticationFailed, "answers 401 instead"),
    ({}, web.Response(status=403, text="hush"), AuthenticationFailed, "answers 403 instead"),
    ({}, web.Response(status=503), IdentityProviderUnavailable, r"cannot be asked .*\(Outage\)"),
    ({}, web.json_response({"hush": 1}), AuthenticationFailed, "sends no id token"),
    ({}, web.Response(text="hush"), IdentityProviderUnavailable, "cannot be asked"),
    ({"github_token_url": "https://localhost:1/"}, None, IdentityProviderUnavailable, r"\(ConnectionError\)"),
]


@pytest.mark.parametrize(("changes", "answer", "error", "words"), GITHUB_REFUSALS)
async def test_refusal_of_github_is_explained(
    settings: Settings,
    seams: Seams,
    github: GitHub,
    changes: dict[str, object],
    answer: web.Response | None,
    error: type[Exception],
    words: str,
) -> None:
    if answer is not None:
        github.answer = answer
    signing = authenticator(settings(**job(github, **changes)), seams)
    with pytest.raises(error, match=words) as raised:
        await token_of(signing)
    await signing.close()

    assert "hush" not in str(raised.value)


async def test_file_counts_more_than_github(
    settings: Settings, seams: Seams, github: GitHub, file: Path
) -> None:
    signing = authenticator(settings(**job(github, federated_token_file=str(file))), seams)

    assert await token_of(signing)
    await signing.close()
    assert github.asked == []


async def test_missing_settings_are_told_together(settings: Settings, seams: Seams) -> None:
    config = settings(client_id="", federated_token_file="", authority=None)

    with pytest.raises(ConfigError) as raised:
        authenticator(config, seams)
    for name in (
        "AZURE_CLIENT_ID",
        "AZURE_FEDERATED_TOKEN_FILE",
        "ACTIONS_ID_TOKEN_REQUEST_URL",
        "AZURE_TENANT_ID",
    ):
        assert name in raised.value.message


async def test_assertion_follows_no_challenge(settings: Settings, seams: Seams) -> None:
    with pytest.raises(ConfigError, match="tenant"):
        authenticator(settings(authority=None, tenant="common"), seams)


async def test_auto_takes_the_configured_file(settings: Settings, seams: Seams, probe: Probes) -> None:
    probe.head = ResponseHead(401, b"", Fields.of([("WWW-Authenticate", "Bearer")]))
    signing = authenticator(settings(auth="auto"), seams)

    assert await token_of(signing)
    await signing.close()


async def test_auto_does_not_choose_between_file_and_secret(
    settings: Settings, seams: Seams, probe: Probes
) -> None:
    probe.head = ResponseHead(401, b"", Fields.of([("WWW-Authenticate", "Bearer")]))
    signing = authenticator(settings(auth="auto", client_secret="s"), seams)
    with pytest.raises(ConfigError, match="A client secret and a federated token file are configured"):
        await token_of(signing)
    await signing.close()
