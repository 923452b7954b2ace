"""Sign in as the app itself, with a certificate: its key signs, and never leaves this machine."""

from __future__ import annotations

from functools import partial

from ..config import ServerConfig
from ..errors import AuthenticationFailed
from .app import app_authenticator
from .clock import Clock
from .proofs import Certificate
from .seams import Authenticator, Seams
from .small_files import read_bytes, read_line

HINT = (
    "Give a PEM file with the private key and its certificate, or a PFX; a password comes from "
    "AZURE_CLIENT_CERTIFICATE_PASSWORD or --client-certificate-password-file. The certificate has to be "
    "uploaded to the app registration."
)


def client_certificate(config: ServerConfig, seams: Seams) -> Authenticator:
    """Tokens of the app; ConfigError names what is missing."""
    return app_authenticator(config, seams, "client-certificate", partial(_certificate, config, seams.clock))


def _certificate(config: ServerConfig, clock: Clock) -> Certificate:
    """The certificate with its key, read anew each time, so that a rotated one needs no restart."""
    from .key_files import certificate  # noqa: PLC0415  cryptography takes 50 ms, and not every way needs it

    path = config.client_certificate_file
    content = read_bytes("client_certificate_file", path, hint=HINT)
    password = _password(config)
    try:
        return certificate(content, password, send_chain=config.send_certificate_chain, clock=clock)
    except ValueError as error:
        raise AuthenticationFailed(
            f"client_certificate_file = {path!r} {error}.", hint=HINT
        ) from None  # what the library says may quote the file


def _password(config: ServerConfig) -> bytes | None:
    if config.client_certificate_password is not None:
        return config.client_certificate_password.value.encode()
    if not config.client_certificate_password_file:
        return None
    return read_line(
        "client_certificate_password_file",
        config.client_certificate_password_file,
        hint="Name a file that holds the password alone and that the proxy may read.",
    ).encode()
