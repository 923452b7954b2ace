"""An app's key and certificate, read from PEM or PFX. Imports cryptography: imported where first needed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from .clock import Clock
from .proofs import Certificate

PEM_MARK = b"-----BEGIN "


def certificate(content: bytes, password: bytes | None, *, send_chain: bool, clock: Clock) -> Certificate:
    """The key of a file with its certificate; ValueError says in words what is wrong.

    The words follow the file's name. They hold nothing of the key and nothing of the password.
    """
    key, found = _pem(content, password) if PEM_MARK in content else _pfx(content, password)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError(  # noqa: TRY004  it is about the file
            f"holds a key of another kind than RSA ({_kind(key)}); Entra ID takes RSA keys only, of 2048 "
            "bits or more"
        )
    own = _own(key, found)
    _check_dates(own, clock.time())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain = (own, *(one for one in found if one != own)) if send_chain else ()
    return Certificate(
        pem,
        own.fingerprint(hashes.SHA256()),
        tuple(one.public_bytes(serialization.Encoding.DER) for one in chain),
        clock,
    )


def _pem(content: bytes, password: bytes | None) -> tuple[object, Sequence[x509.Certificate]]:
    if b"PRIVATE KEY-----" not in content:
        raise ValueError("holds no private key; it needs the key and the certificate, one after the other")
    if b"-----BEGIN CERTIFICATE-----" not in content:
        raise ValueError("holds no certificate; it needs the key and the certificate, one after the other")
    is_encrypted = b"ENCRYPTED" in content  # in PKCS #8's mark, and in the old form's Proc-Type (RFC 1421)
    if is_encrypted and password is None:
        raise ValueError("holds an encrypted key, and no password is given")
    try:
        key = serialization.load_pem_private_key(content, password if is_encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        words = "cannot be decrypted with the password" if is_encrypted else "holds a key that cannot be read"
        raise ValueError(words) from error
    try:
        return key, x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise ValueError("holds a certificate that cannot be read") from error


def _pfx(content: bytes, password: bytes | None) -> tuple[object, Sequence[x509.Certificate]]:
    try:
        key, own, more = pkcs12.load_key_and_certificates(content, password)
    except ValueError as error:
        # An encrypted file and one that is none at all look alike to the library.
        raise ValueError(
            "is neither PEM nor a PFX that opens with the password"
            if password
            else "is neither PEM nor a PFX that opens without a password"
        ) from error
    if key is None or own is None:
        raise ValueError("is a PFX without a private key and its certificate")
    return key, (own, *more)


def _own(key: rsa.RSAPrivateKey, found: Sequence[x509.Certificate]) -> x509.Certificate:
    """The certificate of this key among those of the file."""
    public_key = key.public_key()
    for one in found:
        other = one.public_key()
        if isinstance(other, rsa.RSAPublicKey) and other == public_key:
            return one
    raise ValueError("holds a certificate that is not the one of its private key")


def _check_dates(own: x509.Certificate, now: float) -> None:
    start, end = own.not_valid_before_utc, own.not_valid_after_utc
    if now >= end.timestamp():
        raise ValueError(f"holds a certificate that expired on {end:%Y-%m-%d %H:%M} UTC")
    if now < start.timestamp():
        today = datetime.fromtimestamp(now, UTC)
        raise ValueError(
            f"holds a certificate that is not valid before {start:%Y-%m-%d %H:%M} UTC; this machine's clock "
            f"says {today:%Y-%m-%d %H:%M} UTC"
        )


def _kind(key: object) -> str:
    return type(key).__name__.removesuffix("PrivateKey").replace("EllipticCurve", "elliptic curve").strip("_")
