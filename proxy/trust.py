"""Whom TLS trusts, towards the server and Entra ID alike, and what to do about a certificate that fails.

The operating system's store counts, as in its own programs. On Windows and macOS the system judges each
certificate itself, by truststore. Elsewhere OpenSSL reads the store from its files, once: truststore would do
so at every connection, on the event loop (17 ms with Debian's 140 authorities).
"""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Mapping

from .errors import ConfigError

IS_NATIVE = sys.platform in {"win32", "darwin"}

IS_STRICT = sys.version_info >= (3, 13)
"""Whether Python's own contexts hold certificates to all of RFC 5280 (VERIFY_X509_STRICT), as they do since 3.13."""

BUNDLE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Environment variables with a file or folder of authorities to trust, in the order of requests."""

UNTRUSTED = (
    "If your organization signs certificates itself, or its network inspects TLS, name the PEM file of its "
    "authority with --ca-bundle."
)

_EXPIRED = "The certificate has expired: its owner has to renew it. Check this machine's clock as well."
_OTHER_NAME = "The certificate belongs to another name: check the host in the address."
_NOT_STRICT = (
    "Python 3.13 and later hold certificates to rules of RFC 5280 that browsers leave out. Whoever runs the "
    "authority has to issue certificates that conform; until then name its PEM file with --ca-bundle, and what "
    "it signs is checked without these rules."
)

# By OpenSSL's verification code (X509_V_ERR_*, x509_vfy.h), and by those of Windows (CERT_E_*, winerror.h) and
# macOS (SecBase.h), which truststore passes on.
_HINTS: Mapping[int, str] = {
    9: "The certificate is not valid yet: check this machine's clock.",
    10: _EXPIRED,
    0x800B0101: _EXPIRED,
    -67818: _EXPIRED,
    62: _OTHER_NAME,
    0x800B010F: _OTHER_NAME,
    -67602: _OTHER_NAME,
    64: "The certificate belongs to another address: use the server's name in its address.",
    79: "What signed the certificate is no authority's certificate: whoever runs the authority has to mend it.",
    **dict.fromkeys(range(80, 95), _NOT_STRICT),
}


def trust(ca_bundle: str, environment: Mapping[str, str]) -> ssl.SSLContext:
    """Verified TLS of 1.2 or later.

    The PEM file or folder `ca_bundle` is trusted beside the system's authorities, and the variables of requests
    are not asked. Without one, such a variable names all that is trusted, as in every program that uses
    requests. Authorities that are named are taken as they are, without the strict rules of newer Pythons.
    ConfigError where one cannot be read.
    """
    variable = next((name for name in BUNDLE_VARIABLES if environment.get(name)), "")
    if ca_bundle:
        context = _system()
        _load(context, ca_bundle, "ca_bundle")
    elif variable:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _load(context, environment[variable], variable)
    else:
        context = _system()
        if IS_STRICT and not IS_NATIVE:
            context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def hint(error: ssl.SSLCertVerificationError) -> str:
    """What to do about a certificate that failed."""
    return _HINTS.get(error.verify_code, UNTRUSTED)


def _system() -> ssl.SSLContext:
    if IS_NATIVE:
        import truststore  # noqa: PLC0415  for these two systems alone, and it takes 1.5 MB

        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # as in contexts of Python's own since 3.13
    context.load_default_certs()
    places = ssl.get_default_verify_paths()
    if not places.cafile and not (places.capath and os.listdir(places.capath)):
        import certifi  # noqa: PLC0415  few systems need it, and it takes 2 ms

        context.load_verify_locations(certifi.where())  # a bare container, or a Python built elsewhere
    return context


def _load(context: ssl.SSLContext, path: str, setting: str) -> None:
    try:
        if os.path.isdir(path):
            context.load_verify_locations(capath=path)
        else:
            context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise ConfigError(
            f"{setting} = {path!r} holds no certificate in PEM form.",
            hint="Name a file with one or more blocks -----BEGIN CERTIFICATE-----.",
        ) from error
    except OSError as error:
        raise ConfigError(
            f"{setting} = {path!r} cannot be read: {error.strerror or error}.",
            hint="Name a file that holds certificates in PEM form.",
        ) from error
