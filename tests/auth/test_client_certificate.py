from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import PrivateFormat

from proxy.auth import Seams, authenticator
from proxy.errors import AuthenticationFailed, ConfigError
from proxy.model import Fields, Rejection, ResponseHead
from proxy.sandbox.tenant import SERVICE, Client, Tenant

from ..fakes.clock import FakeClock
from .conftest import BASE_URL, Probes, Settings, token_of
from .keys import PASSWORD, certificate_of, key_pem, pem, pfx, rsa_key, written


@dataclass(frozen=True)
class App:
    key: rsa.RSAPrivateKey
    certificate: x509.Certificate


@pytest.fixture(scope="module")
def app() -> App:
    key = rsa_key()
    return App(key, certificate_of(key))


@pytest.fixture(scope="module")
def another() -> App:
    key = rsa_key()
    return App(key, certificate_of(key))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "app.pem"


@pytest.fixture
async def settings(tenant: Tenant, app_settings: Settings, app: App, file: Path) -> Settings:
    tenant.register(Client(SERVICE.client_id, SERVICE.home, certificates=(pem(app.certificate),)))

    def made(**changes: object) -> object:
        given = {"auth": "client-certificate", "client_secret": None, "client_certificate_file": str(file)}
        return app_settings(**{**given, **changes})

    return made


def protected(**changes: object) -> dict[str, object]:
    return {"client_certificate_password": PASSWORD, **changes}


FORMS = {
    "key first": (lambda app: key_pem(app.key) + pem(app.certificate), {}),
    "certificate first": (lambda app: pem(app.certificate) + key_pem(app.key), {}),
    "old form": (
        lambda app: key_pem(app.key, form=PrivateFormat.TraditionalOpenSSL) + pem(app.certificate),
        {},
    ),
    "encrypted": (lambda app: key_pem(app.key, PASSWORD) + pem(app.certificate), protected()),
    "old form, encrypted": (
        lambda app: key_pem(app.key, PASSWORD, PrivateFormat.TraditionalOpenSSL) + pem(app.certificate),
        protected(),
    ),
    "password that is not needed": (lambda app: key_pem(app.key) + pem(app.certificate), protected()),
    "pfx": (lambda app: pfx(app.key, app.certificate), {}),
    "pfx, encrypted": (lambda app: pfx(app.key, app.certificate, PASSWORD), protected()),
    "text around": (
        lambda app: b"Bag Attributes\n" + key_pem(app.key) + b"\nsubject=CN = app\n" + pem(app.certificate),
        {},
    ),
}


@pytest.mark.parametrize("form", FORMS)
async def test_app_signs_in(
    tenant: Tenant, settings: Settings, seams: Seams, app: App, file: Path, form: str
) -> None:
    content, changes = FORMS[form]
    written(file, content(app))
    signing = authenticator(settings(**changes), seams)
    claims = tenant.verify(await token_of(signing), BASE_URL)
    await signing.close()

    assert claims.appid == SERVICE.client_id


async def test_password_comes_from_a_file(settings: Settings, seams: Seams, app: App, file: Path) -> None:
    written(file, pfx(app.key, app.certificate, PASSWORD))
    password = file.with_name("password")
    password.write_text(f"{PASSWORD}\n")
    signing = authenticator(settings(client_certificate_password_file=str(password)), seams)

    assert await token_of(signing)
    await signing.close()


async def test_own_certificate_is_found_in_a_chain(
    settings: Settings, seams: Seams, app: App, another: App, file: Path
) -> None:
    written(file, pem(another.certificate) + pem(app.certificate) + key_pem(app.key))
    signing = authenticator(settings(), seams)

    assert await token_of(signing)
    await signing.close()


async def test_rotated_certificate_needs_no_restart(
    tenant: Tenant, settings: Settings, seams: Seams, clock: FakeClock, app: App, another: App, file: Path
) -> None:
    written(file, key_pem(app.key) + pem(app.certificate))
    signing = authenticator(settings(), seams)
    first = await signing.credentials()
    assert first is not None
    tenant.register(Client(SERVICE.client_id, SERVICE.home, certificates=(pem(another.certificate),)))
    written(file, pfx(another.key, another.certificate))
    clock.advance(1)
    second = await signing.credentials(Rejection(first))
    await signing.close()

    assert second not in {None, first}


async def test_certificate_that_is_not_uploaded_is_explained(
    settings: Settings, seams: Seams, another: App, file: Path
) -> None:
    written(file, key_pem(another.key) + pem(another.certificate))
    signing = authenticator(settings(), seams)
    with pytest.raises(AuthenticationFailed, match="AADSTS700027"):
        await token_of(signing)
    await signing.close()


WRONG = {
    "missing": (lambda app, other: None, {}, "cannot be read: No such file"),
    "empty": (lambda app, other: b"\n", {}, "is empty"),
    "no key": (lambda app, other: pem(app.certificate), {}, "holds no private key"),
    "no certificate": (lambda app, other: key_pem(app.key), {}, "holds no certificate"),
    "mismatch": (
        lambda app, other: key_pem(app.key) + pem(other.certificate),
        {},
        "not the one of its private key",
    ),
    "no password": (
        lambda app, other: key_pem(app.key, PASSWORD) + pem(app.certificate),
        {},
        "encrypted key, and no password is given",
    ),
    "wrong password": (
        lambda app, other: key_pem(app.key, "other") + pem(app.certificate),
        protected(),
        "cannot be decrypted with the password",
    ),
    "old form, wrong password": (
        lambda app, other: key_pem(app.key, "other", PrivateFormat.TraditionalOpenSSL) + pem(app.certificate),
        protected(),
        "cannot be decrypted with the password|key that cannot be read",
    ),
    "pfx, no password": (
        lambda app, other: pfx(app.key, app.certificate, PASSWORD),
        {},
        "neither PEM nor a PFX that opens without a password",
    ),
    "pfx, wrong password": (
        lambda app, other: pfx(app.key, app.certificate, "other"),
        protected(),
        "neither PEM nor a PFX that opens with the password",
    ),
    "garbage": (lambda app, other: b"hush", {}, "neither PEM nor a PFX"),
    "broken key": (
        lambda app, other: (
            b"-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----\n" + pem(app.certificate)
        ),
        {},
        "holds a key that cannot be read",
    ),
    "broken certificate": (
        lambda app, other: (
            key_pem(app.key) + b"-----BEGIN CERTIFICATE-----\nhush\n-----END CERTIFICATE-----\n"
        ),
        {},
        "holds a certificate that cannot be read",
    ),
    "too large": (lambda app, other: b" " * 2_000_000, {}, "is larger than 1024 KiB"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_unusable_file_is_explained_without_its_content(
    tenant: Tenant, settings: Settings, seams: Seams, app: App, another: App, file: Path, case: str
) -> None:
    content, changes, words = WRONG[case]
    written(file, content(app, another))
    signing = authenticator(settings(**changes), seams)
    with pytest.raises(AuthenticationFailed, match=words) as raised:
        await token_of(signing)
    await signing.close()

    assert str(file) in raised.value.message
    assert "hush" not in raised.value.message + raised.value.hint
    assert tenant.token_requests == ()


async def test_other_keys_than_rsa_are_named(settings: Settings, seams: Seams, file: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    for content in (key_pem(key) + pem(certificate_of(key)), pfx(key, certificate_of(key))):
        written(file, content)
        signing = authenticator(settings(), seams)
        with pytest.raises(
            AuthenticationFailed, match=r"another kind than RSA .*Entra ID takes RSA keys only"
        ):
            await token_of(signing)
        await signing.close()


DATES = [(-40, 30, "expired on"), (2, 30, "not valid before .*; this machine's clock says")]


@pytest.mark.parametrize(("start", "days", "words"), DATES)
async def test_certificate_outside_its_dates_is_named(
    settings: Settings, seams: Seams, app: App, file: Path, start: float, days: float, words: str
) -> None:
    certificate = certificate_of(app.key, datetime.now(UTC) + timedelta(days=start), days)
    written(file, key_pem(app.key) + pem(certificate))
    signing = authenticator(settings(), seams)
    with pytest.raises(AuthenticationFailed, match=words):
        await token_of(signing)
    await signing.close()


async def test_certificate_that_expires_while_the_proxy_runs_is_named(
    settings: Settings, seams: Seams, clock: FakeClock, app: App, file: Path
) -> None:
    written(file, key_pem(app.key) + pem(app.certificate))
    signing = authenticator(settings(), seams)
    await token_of(signing)
    clock.advance(40 * 86400)
    with pytest.raises(AuthenticationFailed, match="expired on"):
        await token_of(signing)
    await signing.close()


async def test_missing_settings_are_told_together(settings: Settings, seams: Seams) -> None:
    config = settings(client_id="", client_certificate_file="", authority=None)

    with pytest.raises(ConfigError) as raised:
        authenticator(config, seams)
    for name in ("AZURE_CLIENT_ID", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_TENANT_ID"):
        assert name in raised.value.message


async def test_certificate_follows_no_challenge(settings: Settings, seams: Seams) -> None:
    with pytest.raises(ConfigError, match="tenant"):
        authenticator(settings(authority=None, tenant="organizations"), seams)


async def test_auto_takes_the_configured_certificate(
    settings: Settings, seams: Seams, probe: Probes, app: App, file: Path, lines: list[str]
) -> None:
    probe.head = ResponseHead(401, b"", Fields.of([("WWW-Authenticate", "Bearer")]))
    written(file, key_pem(app.key) + pem(app.certificate))
    signing = authenticator(settings(auth="auto"), seams)

    assert await token_of(signing)
    await signing.close()
    assert f"the app {SERVICE.client_id} signs in" in lines[0]
