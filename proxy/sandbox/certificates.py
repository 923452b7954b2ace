"""A certificate authority that lives as long as the process, so that the sandbox can speak TLS.

MSAL refuses an authority that is not https. The chain holds what strict verification asks for (RFC 5280
section 4.2, OpenSSL's `X509_V_FLAG_X509_STRICT`, the default of Python 3.13): critical basic constraints
and key usage, subject and authority key identifiers.
"""

from __future__ import annotations

import secrets
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
LIFETIME = timedelta(days=90)
CLOCK_SKEW = timedelta(days=1)
"""A container's clock may run behind the clock of the machine that checks the certificate."""

NO_KEY_USAGE = {
    "digital_signature": False,
    "content_commitment": False,
    "key_encipherment": False,
    "data_encipherment": False,
    "key_agreement": False,
    "key_cert_sign": False,
    "crl_sign": False,
    "encipher_only": False,
    "decipher_only": False,
}


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """A certificate authority whose private key never leaves the process; `ca_pem` is what others trust."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def create(cls) -> CertificateAuthority:
        """A new authority, valid from yesterday for 90 days."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fhir-auth-proxy sandbox CA")])
        usage = x509.KeyUsage(**{**NO_KEY_USAGE, "key_cert_sign": True, "crl_sign": True})
        certificate = (
            _builder(name, name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @property
    def ca_pem(self) -> bytes:
        """The authority's certificate as PEM, for a `--ca-bundle` file."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def server_context(self, *more_names: str) -> ssl.SSLContext:
        """A server's TLS settings with a fresh certificate for localhost, 127.0.0.1, ::1 and more names.

        The ssl module reads keys from files alone: one is written for that moment, in a folder that only this
        user can enter and encrypted with a passphrase that is never stored.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        passphrase = secrets.token_bytes(32).hex().encode("ascii")
        chain = self._leaf(key.public_key(), (*LOCAL_NAMES, *more_names)).public_bytes(
            serialization.Encoding.PEM
        ) + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(passphrase),
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        with TemporaryDirectory(prefix="fhir-auth-proxy-") as folder:
            file = Path(folder) / "chain.pem"
            file.write_bytes(chain)
            context.load_cert_chain(file, password=passphrase)
        return context

    def _leaf(self, public_key: ec.EllipticCurvePublicKey, names: tuple[str, ...]) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        alternatives = [_general_name(name) for name in dict.fromkeys(names)]
        return (
            _builder(subject, self.certificate.subject, public_key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**{**NO_KEY_USAGE, "digital_signature": True}), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
            .sign(self.key, hashes.SHA256())
        )


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    start = datetime.now(UTC) - CLOCK_SKEW
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
