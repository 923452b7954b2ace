from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from proxy.sandbox.tenant import CLINIC, Client, EntraError, FederatedCredential
from proxy.sandbox.tenant.proofs import JWT_BEARER, check

NOW = 1_800_000_000.0
ENDPOINT = "https://localhost/t/oauth2/v2.0/token"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = serialization.Encoding.PEM


def certificate(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "service")])
    start = datetime.fromtimestamp(NOW, UTC) - timedelta(days=1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(start).not_valid_after(start + timedelta(days=2))
    return builder.sign(key, hashes.SHA256())


CERTIFICATE = certificate(KEY)
EC_CERTIFICATE = certificate(ec.generate_private_key(ec.SECP256R1()))
CLIENT = Client(
    "the-client",
    CLINIC.id,
    certificates=tuple(one.public_bytes(PEM) for one in (CERTIFICATE, EC_CERTIFICATE)),
    federated_credentials=(
        FederatedCredential(
            "https://cluster.example",
            "the-subject",
            KEY.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        ),
    ),
)
CLAIMS = {"iss": "the-client", "sub": "the-client", "aud": ENDPOINT, "nbf": NOW + 0.5, "exp": NOW + 600.5}
FEDERATED = {
    "iss": "https://cluster.example",
    "sub": "the-subject",
    "aud": "api://AzureADTokenExchange",
    "exp": NOW + 600,
}


def thumbprint(of: x509.Certificate, algorithm: hashes.HashAlgorithm) -> str:
    return base64.urlsafe_b64encode(of.fingerprint(algorithm)).decode("ascii")


SHA256 = {"x5t#S256": thumbprint(CERTIFICATE, hashes.SHA256())}


def form(claims: dict[str, object], header: dict[str, str], algorithm: str = "PS256") -> dict[str, str]:
    return {
        "client_assertion_type": JWT_BEARER,
        "client_assertion": jwt.encode(claims, KEY, algorithm, headers=header),
    }


@pytest.mark.parametrize(
    ("claims", "header", "algorithm"),
    [
        (CLAIMS, SHA256, "PS256"),
        (CLAIMS, {"x5t#S256": SHA256["x5t#S256"].rstrip("=")}, "PS256"),
        (CLAIMS, {"x5t": thumbprint(CERTIFICATE, hashes.SHA1())}, "RS256"),
        (FEDERATED, {}, "RS256"),
        ({**FEDERATED, "aud": ["other", "api://AzureADTokenExchange"]}, {}, "RS256"),
    ],
)
def test_good_assertions(claims: dict[str, object], header: dict[str, str], algorithm: str) -> None:
    assert check(CLIENT, form(claims, header, algorithm), {ENDPOINT}, NOW) == "2"


@pytest.mark.parametrize(
    ("claims", "header", "now", "code"),
    [
        ({**CLAIMS, "sub": "other"}, SHA256, NOW, 700021),
        ({**CLAIMS, "aud": "https://other.example"}, SHA256, NOW, 700023),
        (CLAIMS, SHA256, NOW + 1000, 700024),
        (CLAIMS, SHA256, NOW - 1000, 700024),
        ({**CLAIMS, "exp": None}, SHA256, NOW, 700024),
        (CLAIMS, {}, NOW, 700027),
        (CLAIMS, {"x5t#S256": thumbprint(EC_CERTIFICATE, hashes.SHA256())}, NOW, 700027),
        (CLAIMS, SHA256, NOW + 86400, 700027),
        ({**FEDERATED, "iss": "other"}, {}, NOW, 700211),
        ({**FEDERATED, "aud": "other"}, {}, NOW, 700212),
        ({**FEDERATED, "sub": "other"}, {}, NOW, 700213),
        (FEDERATED, {}, NOW + 1000, 700024),
    ],
)
def test_bad_assertions(claims: dict[str, object], header: dict[str, str], now: float, code: int) -> None:
    with pytest.raises(EntraError) as refused:
        check(CLIENT, form(claims, header), {ENDPOINT}, now)

    assert refused.value.code == code


@pytest.mark.parametrize("assertion", ["", "x", "a.b.c"])
def test_what_is_no_assertion(assertion: str) -> None:
    sent = {"client_assertion_type": JWT_BEARER, "client_assertion": assertion}

    with pytest.raises(EntraError) as refused:
        check(CLIENT, sent, {ENDPOINT}, NOW)

    assert refused.value.code == 50013


def test_public_client_has_no_proof() -> None:
    with pytest.raises(EntraError) as refused:
        check(Client("public", CLINIC.id), form(CLAIMS, SHA256), {ENDPOINT}, NOW)

    assert refused.value.code == 700025
