"""Certificates of real authorities, sound and flawed, before the connections to the server and to Entra ID."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from proxy import trust as module
from proxy.auth.http import EntraHttp, unavailable
from proxy.auth.threads import in_thread
from proxy.config import ServerConfig
from proxy.doctor.verdicts import Status
from proxy.errors import ConfigError, UpstreamUnreachable
from proxy.model import BaseUrl
from proxy.trust import BUNDLE_VARIABLES, UNTRUSTED, hint, trust
from proxy.upstream import Upstream, tls_context

from .doctor.walking import walked
from .fakes.byte_server import Peer, byte_server
from .upstream.conftest import request, sized, whole

ANSWER = sized(b"{}")
USAGE = dict.fromkeys(
    (
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "encipher_only",
        "decipher_only",
    ),
    False,
)


@dataclass(frozen=True)
class Flaws:
    """What an authority does less well than RFC 5280 wants; none by default."""

    has_critical_constraints: bool = True
    has_usage: bool = True
    names_keys: bool = True
    is_authority: bool = True


class Authority:
    """A certificate authority as somebody once set it up with a script."""

    def __init__(self, flaws: Flaws = Flaws()) -> None:
        self._flaws = flaws
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("Clinic CA")
        certificate = _builder(self._name, self._name, self._key).add_extension(
            x509.BasicConstraints(ca=flaws.is_authority, path_length=None),
            critical=flaws.has_critical_constraints,
        )
        if flaws.has_usage:
            usage = x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, **USAGE)
            certificate = certificate.add_extension(usage, critical=True)
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        certificate = certificate.add_extension(identifier, critical=False)
        self.pem = certificate.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def server_context(self, folder: Path) -> ssl.SSLContext:
        """The TLS settings of a server on this machine, with a certificate of this authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        leaf = _builder(_name("localhost"), self._name, key).add_extension(
            x509.SubjectAlternativeName(names), critical=False
        )
        if self._flaws.names_keys:
            of_issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
            leaf = leaf.add_extension(of_issuer, critical=False)
        form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        file = folder / "server.pem"
        file.write_bytes(
            leaf.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(serialization.Encoding.PEM, *form)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
    )


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*BUNDLE_VARIABLES, "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


Installed = Callable[[Authority], str]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installed:
    """Puts an authority into what is the system's store here; gives its file."""

    def install(authority: Authority) -> str:
        file = tmp_path / "authority.pem"
        file.write_bytes(authority.pem)
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        return str(file)

    return install


@pytest.fixture
def bundle(tmp_path: Path) -> str:
    file = tmp_path / "bundle.pem"
    file.write_bytes(Authority().pem)
    return str(file)


async def by_upstream(port: int, ca_bundle: str) -> str:
    """What the connection to the server says of the certificate; empty for a good one."""
    upstream = Upstream(BaseUrl("https", "localhost", port), tls=tls_context(ca_bundle))
    try:
        await whole(await upstream.send(request()))
    except UpstreamUnreachable as error:
        return f"{error.message} {error.hint}"
    finally:
        await upstream.close()
    return ""


async def by_entra(port: int, ca_bundle: str) -> str:
    """What the connection to Entra ID says of the certificate; empty for a good one."""
    http = EntraHttp(ca_bundle, 5, 5)
    try:
        await in_thread(lambda: http.get(f"https://localhost:{port}/t"))
    except requests.RequestException as error:
        told = unavailable(error, f"localhost:{port}")
        return f"{told.message} {told.hint}"
    finally:
        http.close()
    return ""


async def answer(peer: Peer) -> None:
    await peer.head()
    await peer.send(ANSWER)


LEGS = pytest.mark.parametrize("leg", [by_upstream, by_entra])
Leg = Callable[[int, str], "asyncio.Future[str]"]


@LEGS
@pytest.mark.parametrize("is_native", [True, False])
@pytest.mark.parametrize("is_strict", [True, False])
async def test_authority_of_the_system_or_of_the_bundle_is_trusted(
    leg: Leg,
    is_native: bool,
    is_strict: bool,
    installed: Installed,
    bundle: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "IS_NATIVE", is_native)
    monkeypatch.setattr(module, "IS_STRICT", is_strict)
    authority = Authority()
    async with byte_server(answer, authority.server_context(tmp_path)) as server:
        unknown = await leg(server.port, bundle)
        file = installed(authority)
        by_the_system = await leg(server.port, "")
        beside_a_bundle = await leg(server.port, bundle)
        monkeypatch.delenv("SSL_CERT_FILE")
        by_the_bundle = await leg(server.port, file)
        await server.until_closed()

    assert UNTRUSTED in unknown
    assert (by_the_system, beside_a_bundle, by_the_bundle) == ("", "", "")


FLAWS = [
    (Flaws(has_critical_constraints=False), "Basic Constraints of CA cert not marked critical"),
    (Flaws(has_usage=False), "CA cert does not include key usage extension"),
    (Flaws(names_keys=False), "Missing Authority Key Identifier"),
]


@LEGS
@pytest.mark.parametrize(("flaws", "reason"), FLAWS, ids=[reason for _, reason in FLAWS])
async def test_flaw_that_newer_pythons_refuse_is_explained_and_a_named_authority_is_taken_as_it_is(
    leg: Leg,
    flaws: Flaws,
    reason: str,
    installed: Installed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    authority = Authority(flaws)
    file = installed(authority)
    async with byte_server(answer, authority.server_context(tmp_path)) as server:
        monkeypatch.setattr(module, "IS_STRICT", False)
        before = await leg(server.port, "")
        monkeypatch.setattr(module, "IS_STRICT", True)
        refused = await leg(server.port, "")
        named = await leg(server.port, file)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", file)
        by_variable = await leg(server.port, "")
        await server.until_closed()

    assert (before, named, by_variable) == ("", "", "")
    assert reason in refused
    assert "Python 3.13" in refused
    assert "--ca-bundle" in refused


@LEGS
async def test_what_is_no_authority_signs_nothing(leg: Leg, tmp_path: Path) -> None:
    authority = Authority(Flaws(is_authority=False))
    file = tmp_path / "authority.pem"
    file.write_bytes(authority.pem)
    async with byte_server(answer, authority.server_context(tmp_path)) as server:
        refused = await leg(server.port, str(file))
        await server.until_closed()

    assert "no authority's certificate" in refused


async def test_doctor_tells_the_flaw_at_its_step(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IS_STRICT", True)
    authority = Authority(Flaws(names_keys=False))
    installed(authority)
    async with byte_server(answer, authority.server_context(tmp_path)) as server:
        config = ServerConfig.of(
            {
                "base_url": f"https://localhost:{server.port}",
                "auth": "anonymous",
                "listen": "127.0.0.1:0",
            }
        )
        tls = (await walked(config))["tls"].verdict

    assert tls.status is Status.FAILED
    assert "Missing Authority Key Identifier" in tls.cause
    assert "Clinic CA" in tls.cause
    assert "--ca-bundle" in tls.fix


@pytest.mark.parametrize("is_native", [True, False])
@pytest.mark.parametrize("variable", ["", *BUNDLE_VARIABLES])
@pytest.mark.parametrize("is_named", [True, False])
def test_certificates_and_names_are_always_checked(
    is_native: bool, variable: str, is_named: bool, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IS_NATIVE", is_native)
    context = trust(bundle if is_named else "", {variable: bundle} if variable else {})

    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_configured_bundle_is_added_to_the_systems(bundle: str) -> None:
    alone = len(trust("", {}).get_ca_certs())

    assert len(trust(bundle, {}).get_ca_certs()) == alone + 1


def test_variable_names_all_that_is_trusted(bundle: str) -> None:
    assert len(trust("", {"CURL_CA_BUNDLE": bundle}).get_ca_certs()) == 1


def test_bundle_may_be_a_folder(tmp_path: Path) -> None:
    assert trust("", {"REQUESTS_CA_BUNDLE": str(tmp_path)}).get_ca_certs() == []


def test_system_without_authorities_takes_the_public_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))

    assert len(trust("", {}).get_ca_certs()) > 100


UNREADABLE = [
    ("{}", {}, "ca_bundle"),
    ("", {"REQUESTS_CA_BUNDLE": "{}"}, "REQUESTS_CA_BUNDLE"),
    ("", {"CURL_CA_BUNDLE": "{}"}, "CURL_CA_BUNDLE"),
]


@pytest.mark.parametrize(("ca_bundle", "environment", "name"), UNREADABLE, ids=[row[2] for row in UNREADABLE])
@pytest.mark.parametrize("content", [b"", b"not a certificate", b"\x30\x82\x01\x0a", None])
def test_unusable_bundle_is_told_by_the_name_of_its_setting(
    tmp_path: Path, ca_bundle: str, environment: dict[str, str], name: str, content: bytes | None
) -> None:
    path = tmp_path / "authority.pem"
    if content is not None:
        path.write_bytes(content)
    given = {variable: text.format(path) for variable, text in environment.items()}

    with pytest.raises(ConfigError, match=rf"^{name} = .*authority\.pem' (holds no|cannot be read)"):
        trust(ca_bundle.format(path), given)


CODES = [
    (10, "has expired"),
    (0x800B0101, "has expired"),  # Windows
    (-67818, "has expired"),  # macOS
    (9, "not valid yet"),
    (62, "another name"),
    (0x800B010F, "another name"),
    (-67602, "another name"),
    (64, "another address"),
    (18, "--ca-bundle"),
    (20, "--ca-bundle"),
    (0x800B0109, "--ca-bundle"),
    (-67843, "--ca-bundle"),
]


@pytest.mark.parametrize(("code", "words"), CODES)
def test_code_of_each_system_is_explained(code: int, words: str) -> None:
    error = ssl.SSLCertVerificationError("it failed")
    error.verify_code = code

    assert words in hint(error)
