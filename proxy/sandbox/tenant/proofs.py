"""How an application proves that it is itself: a secret, or an assertion signed with a registered key.

Sources: RFC 7521, RFC 7523; Microsoft, "Application authentication certificate credentials" and "Workload
identity federation".
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Collection, Mapping
from datetime import UTC, datetime

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from .errors import EntraError
from .issuing import ASSERTION, SECRET
from .registry import Client, FederatedCredential
from .tokens import NO_CLAIM_CHECKS

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS = ("PS256", "RS256")
CLOCK_SKEW = 300
"""Seconds by which the application's clock may be off, as with Entra."""


def check(client: Client, form: Mapping[str, str], endpoints: Collection[str], now: float) -> str:
    """Check the application's proof and tell its kind (`SECRET`, `ASSERTION`); EntraError if there is none.

    `endpoints` are the URLs that an assertion may name as its audience.
    """
    if "client_assertion" in form:
        if form.get("client_assertion_type") != JWT_BEARER:
            raise EntraError(900144, "client_assertion_type")
        _check_assertion(client, form["client_assertion"], endpoints, now)
        return ASSERTION
    if "client_secret" in form:
        _check_secret(client, form["client_secret"], now)
        return SECRET
    raise EntraError(7000216 if form.get("grant_type") == "client_credentials" else 7000218)


def is_offered(form: Mapping[str, str]) -> bool:
    """Whether a request carries any proof."""
    return "client_secret" in form or "client_assertion" in form


def _check_secret(client: Client, secret: str, now: float) -> None:
    if not client.has_credential:
        raise EntraError(700025, client.client_id)
    if not client.secret or not hmac.compare_digest(client.secret.encode(), secret.encode()):
        raise EntraError(7000215, client.client_id)
    if client.secret_expires_at is not None and now >= client.secret_expires_at:
        raise EntraError(7000222, client.client_id)


def _check_assertion(client: Client, assertion: str, endpoints: Collection[str], now: float) -> None:
    if not client.has_credential:
        raise EntraError(700025, client.client_id)
    try:
        header = jwt.get_unverified_header(assertion)
        claims = jwt.decode(assertion, options={**NO_CLAIM_CHECKS, "verify_signature": False})
    except jwt.PyJWTError:
        raise EntraError(50013, "it is not a signed JWT") from None
    if claims.get("iss") == client.client_id:
        _check_certificate_assertion(client, assertion, header, now)
        if claims.get("sub") != client.client_id:
            raise EntraError(700021, client.client_id)
        if claims.get("aud") not in endpoints:
            raise EntraError(700023, str(claims.get("aud")))
    else:
        _check_federated_assertion(client, assertion, claims)
    _check_time(claims, now)


def _check_time(claims: Mapping[str, object], now: float) -> None:
    try:
        # MSAL writes these as fractions (RFC 7519 section 2, NumericDate).
        starts, ends = float(str(claims.get("nbf", 0))), float(str(claims["exp"]))
    except (KeyError, ValueError):
        raise EntraError(700024, "exp or nbf is missing or not a number") from None
    if now < starts - CLOCK_SKEW or now >= ends + CLOCK_SKEW:
        raise EntraError(700024, f"the current time is {int(now)}, the assertion ends at {int(ends)}")


def _check_certificate_assertion(
    client: Client, assertion: str, header: Mapping[str, object], now: float
) -> None:
    known = [x509.load_pem_x509_certificate(pem) for pem in client.certificates]
    named = [certificate for certificate in known if _is_named(certificate, header)]
    if not named:
        raise EntraError(700027, "the key was not found by the thumbprint of its certificate")
    if datetime.fromtimestamp(now, UTC) >= named[0].not_valid_after_utc:
        raise EntraError(700027, "the certificate is expired")
    public_key = named[0].public_key()
    if not isinstance(public_key, rsa.RSAPublicKey) or not _is_signed(assertion, public_key):
        raise EntraError(700027, "the signature is invalid")


def _check_federated_assertion(client: Client, assertion: str, claims: Mapping[str, object]) -> None:
    found: tuple[FederatedCredential, ...] = client.federated_credentials
    for code, claim, attribute in (
        (700211, "iss", "issuer"),
        (700213, "sub", "subject"),
        (700212, "aud", "audience"),
    ):
        stated = claims.get(claim)
        values = stated if isinstance(stated, list) else [stated]
        found = tuple(one for one in found if getattr(one, attribute) in values)
        if not found:
            raise EntraError(code, str(stated))
    public_key = load_pem_public_key(found[0].public_key_pem)
    if not isinstance(public_key, rsa.RSAPublicKey) or not _is_signed(assertion, public_key):
        raise EntraError(50013, "the signature is invalid")


def _is_signed(assertion: str, public_key: rsa.RSAPublicKey) -> bool:
    try:
        jwt.decode(assertion, public_key, ALGORITHMS, options=NO_CLAIM_CHECKS)
    except jwt.PyJWTError:
        return False
    return True


def _is_named(certificate: x509.Certificate, header: Mapping[str, object]) -> bool:
    """Whether an assertion's header names a certificate (RFC 7515 section 4.1.8; MSAL pads the value)."""
    prints = {
        "x5t#S256": certificate.fingerprint(hashes.SHA256()),
        "x5t": certificate.fingerprint(hashes.SHA1()),  # noqa: S303 - the name of a certificate, not a proof
    }
    return any(
        str(header.get(name, "")).rstrip("=") == base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")
        for name, value in prints.items()
    )
