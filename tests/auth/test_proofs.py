from __future__ import annotations

import base64

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from proxy.auth.key_files import certificate
from proxy.auth.proofs import ASSERTION_LIFE, Foreign

from ..fakes.clock import FakeClock
from .keys import certificate_of, key_pem, pem, rsa_key

ENDPOINT = "https://login.example/t/oauth2/v2.0/token"
KEY = rsa_key()
OWN, OTHER = certificate_of(KEY), certificate_of(rsa_key(), name="issuer")
CONTENT = pem(OTHER) + key_pem(KEY) + pem(OWN)


def test_assertion_has_microsofts_form() -> None:
    clock = FakeClock(OWN.not_valid_before_utc.timestamp() + 100.5)
    proof = certificate(CONTENT, None, send_chain=False, clock=clock)
    text = proof.text("app-7", ENDPOINT)
    claims = jwt.decode(text, KEY.public_key(), ["PS256"], options={"verify_aud": False, "verify_exp": False})
    header = jwt.get_unverified_header(text)
    thumbprint = base64.urlsafe_b64encode(OWN.fingerprint(hashes.SHA256())).rstrip(b"=").decode()

    assert ("app-7", "app-7", ENDPOINT) == (claims["iss"], claims["sub"], claims["aud"])
    assert (int(clock.now), ASSERTION_LIFE) == (claims["nbf"], claims["exp"] - claims["iat"])
    assert {"alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint} == header


def test_no_two_assertions_are_equal() -> None:
    clock = FakeClock(OWN.not_valid_before_utc.timestamp())
    proof = certificate(CONTENT, None, send_chain=False, clock=clock)
    identifiers = {
        jwt.decode(proof.text("a", ENDPOINT), options={"verify_signature": False})["jti"] for _ in range(3)
    }

    assert len(identifiers) == 3


def test_chain_is_sent_own_certificate_first_where_it_is_configured() -> None:
    clock = FakeClock(OWN.not_valid_before_utc.timestamp())
    proof = certificate(CONTENT, None, send_chain=True, clock=clock)
    header = jwt.get_unverified_header(proof.text("app-7", ENDPOINT))
    expected = [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in (OWN, OTHER)]

    assert expected == header["x5c"]


def test_same_file_is_the_same_proof_and_none_prints() -> None:
    clock = FakeClock(OWN.not_valid_before_utc.timestamp() + 3600)
    one, same = (certificate(CONTENT, None, send_chain=False, clock=clock) for _ in range(2))
    other = certificate(key_pem(KEY) + pem(certificate_of(KEY)), None, send_chain=False, clock=clock)

    assert one == same != other
    assert "PRIVATE" not in repr(one)
    assert "hush" not in repr(Foreign("hush"))
