"""TLS with the server, and what its failures mean."""

from __future__ import annotations

import os
import ssl

from ..errors import UpstreamUnreachable
from ..trust import hint, trust


def tls_context(ca_bundle: str = "") -> ssl.SSLContext:
    """Verified TLS of 1.2 or later, trusting the system's authorities and those of the PEM file `ca_bundle`.

    Raises ConfigError where the file cannot be read or holds no certificate.
    """
    context = trust(ca_bundle, os.environ)
    context.set_alpn_protocols(["http/1.1"])
    return context


def tls_failure(where: str, error: ssl.SSLError) -> UpstreamUnreachable:
    """What a failed handshake with the server that errors call `where` means."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return UpstreamUnreachable(
            f"The certificate of {where} is not trusted: {error.verify_message.rstrip('.')}.",
            hint=hint(error),
        )
    reason = (error.reason or str(error)).replace("_", " ").lower()
    return UpstreamUnreachable(
        f"TLS with {where} failed: {reason}.",
        hint="Check that the port of the base URL speaks HTTPS, with TLS 1.2 or later.",
    )
