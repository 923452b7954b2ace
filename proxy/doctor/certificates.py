"""Certificates as a person reads them, and whether a public authority stands behind one."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import datetime

import certifi
from cryptography import x509
from cryptography.x509.oid import NameOID

from ..auth.answers import cleaned
from ..config import ServerConfig
from ..errors import ProxyError
from ..upstream import Tunnel
from .visit import visit


@dataclass(frozen=True, slots=True)
class Certificate:
    """Whose a certificate is, who signed it, and until when it holds."""

    subject: str
    issuer: str
    until: datetime

    @classmethod
    def of(cls, der: bytes) -> Certificate:
        """Read a certificate; ValueError for what is none."""
        certificate = x509.load_der_x509_certificate(der)
        return cls(_name(certificate.subject), _name(certificate.issuer), certificate.not_valid_after_utc)

    def details(self) -> dict[str, str]:
        """What a person is shown."""
        return {
            "subject": self.subject,
            "issuer": self.issuer,
            "until": f"{self.until:%Y-%m-%d %H:%M:%S} UTC",
        }


async def public_authorities(config: ServerConfig, tunnel: Tunnel | None) -> bool:
    """Whether the server's certificate holds against the public authorities of certifi alone."""
    context = ssl.create_default_context(cafile=certifi.where())
    return await _handshake(config, tunnel, context) is not None


async def presented(config: ServerConfig, tunnel: Tunnel | None) -> Certificate | None:
    """The certificate that a server shows although it is not trusted; nothing is sent to it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return await _handshake(config, tunnel, context)


async def _handshake(
    config: ServerConfig, tunnel: Tunnel | None, context: ssl.SSLContext
) -> Certificate | None:
    try:
        return Certificate.of((await visit(config, config.base_url, context, tunnel)).certificate)
    except (ProxyError, ValueError):
        return None


def _name(name: x509.Name) -> str:
    """Organization and common name, whichever there are."""
    texts = [
        str(attribute.value)
        for oid in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME)
        for attribute in name.get_attributes_for_oid(oid)
    ]
    return cleaned(", ".join(dict.fromkeys(texts))) or "a name that is empty"
