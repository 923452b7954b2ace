"""Whom TLS trusts, and what its failures mean."""

from __future__ import annotations

import ssl

from ..errors import ConfigError, UpstreamUnreachable

_HINTS = {
    10: "The certificate has expired: its owner has to renew it. Check this machine's clock as well.",
    62: "The certificate belongs to another name: check the host in the base URL.",
    64: "The certificate belongs to another address: use the server's name in the base URL.",
}
"""What to do by OpenSSL's verification code (X509_V_ERR_*, x509_vfy.h)."""

_UNTRUSTED_HINT = (
    "If your organisation signs certificates itself, or its network inspects TLS, "
    "name the PEM file of its authority with --ca-bundle."
)


def tls_context(ca_bundle: str = "") -> ssl.SSLContext:
    """Verified TLS of 1.2 or later, trusting the system's authorities and those of the PEM file `ca_bundle`.

    Raises ConfigError where the file cannot be read or holds no certificate.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca_bundle:
        try:
            context.load_verify_locations(cafile=ca_bundle)
        except ssl.SSLError as error:
            raise ConfigError(
                f"ca_bundle: {ca_bundle!r} holds no certificate in PEM form.",
                hint="Name a file with one or more blocks -----BEGIN CERTIFICATE-----.",
            ) from error
        except OSError as error:
            raise ConfigError(
                f"ca_bundle: {ca_bundle!r} cannot be read: {error.strerror or error}."
            ) from error
    return context


def tls_failure(where: str, error: ssl.SSLError) -> UpstreamUnreachable:
    """What a failed handshake with the server that errors call `where` means."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return UpstreamUnreachable(
            f"The certificate of {where} is not trusted: {error.verify_message}.",
            hint=_HINTS.get(error.verify_code, _UNTRUSTED_HINT),
        )
    reason = (error.reason or str(error)).replace("_", " ").lower()
    return UpstreamUnreachable(
        f"TLS with {where} failed: {reason}.",
        hint="Check that the port of the base URL speaks HTTPS, with TLS 1.2 or later.",
    )
