"""Sign in as the app itself, with a certificate: its key signs, and never leaves this machine."""

from __future__ import annotations

from functools import partial

from ..config import ServerConfig
from ..config.checks import NEEDS
from ..errors import AuthenticationFailed
from ..model import Rejection
from ..rules.rejections import refused_after_sign_in
from .cache import AccessToken, CachedAuthenticator
from .clock import Clock
from .entra import Entra
from .proofs import Certificate
from .registration import Permission, authority_when_needed, registration, require
from .seams import Authenticator, Seams
from .small_files import read_bytes, read_line
from .threads import in_thread

HINT = (
    "Give a PEM file with the private key and its certificate, or a PFX; a password comes from "
    "AZURE_CLIENT_CERTIFICATE_PASSWORD or --client-certificate-password-file. The certificate has to be "
    "uploaded to the app registration."
)


def client_certificate(config: ServerConfig, seams: Seams) -> Authenticator:
    """Tokens of the app; ConfigError names what is missing."""
    require(config, NEEDS["client-certificate"])
    entra = Entra(
        authority_when_needed(config, seams.probe),
        registration(config, Permission.APP),
        seams.clock,
    )
    explain = partial(refused_after_sign_in, config)
    return CachedAuthenticator(ClientCertificateSource(config, entra, seams.clock), seams.clock, explain)


class ClientCertificateSource:
    """A TokenSource that reads the file anew each time, so that a rotated certificate needs no restart."""

    def __init__(self, config: ServerConfig, entra: Entra, clock: Clock) -> None:
        self._config = config
        self._entra = entra
        self._clock = clock

    async def acquire(self, *, rejected: Rejection | None) -> AccessToken:  # noqa: ARG002  all are new
        """A new token of the app."""
        return await self._entra.app_token(await in_thread(self._certificate))

    async def close(self) -> None:
        """Close the connections to Entra ID."""
        self._entra.close()

    def _certificate(self) -> Certificate:
        from .key_files import certificate  # noqa: PLC0415  cryptography takes 50 ms, and not every way needs it

        path = self._config.client_certificate_file
        content = read_bytes("client_certificate_file", path, hint=HINT)
        password = self._password()
        try:
            return certificate(
                content, password, send_chain=self._config.send_certificate_chain, clock=self._clock
            )
        except ValueError as error:
            raise AuthenticationFailed(
                f"client_certificate_file = {path!r} {error}.", hint=HINT
            ) from None  # what the library says may quote the file

    def _password(self) -> bytes | None:
        config = self._config
        if config.client_certificate_password is not None:
            return config.client_certificate_password.get_secret_value().encode()
        if not config.client_certificate_password_file:
            return None
        return read_line(
            "client_certificate_password_file",
            config.client_certificate_password_file,
            hint="Name a file that holds the password alone and that the proxy may read.",
        ).encode()
