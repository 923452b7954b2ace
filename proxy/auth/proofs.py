"""How an app proves to Entra ID that it is itself without a secret: an assertion (RFC 7523 section 2.2).

Sources: Microsoft, "Application authentication certificate credentials" and "Workload identity federation".
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol
from uuid import uuid4

from .clock import Clock

ASSERTION_LIFE = 600
"""Seconds; MSAL takes the same, and Entra ID no more than a day."""


class Assertion(Protocol):
    """What is sent in a secret's place; equal ones are the same proof."""

    def text(self, client_id: str, token_endpoint: str) -> str:
        """The signed JWT for a request; made anew for each."""


Proof = str | Assertion
"""A client secret, or what takes its place."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """An assertion that another issuer has signed, which the app registration trusts."""

    token: str = field(repr=False)

    def text(self, client_id: str, token_endpoint: str) -> str:  # noqa: ARG002  it is signed already
        """The token as it came."""
        return self.token


@dataclass(frozen=True, slots=True)
class Certificate:
    """An RSA key and its certificate; `chain` is empty where it is not to be sent.

    MSAL's own way sends the certificate always when it comes from PEM, and its chain never; so the assertion
    is made here, in the same form: PS256 and the SHA-256 thumbprint.
    """

    key_pem: bytes = field(repr=False)
    thumbprint: bytes
    chain: tuple[bytes, ...]
    """The certificates as DER, the app's own first."""
    clock: Clock = field(compare=False)

    def text(self, client_id: str, token_endpoint: str) -> str:
        """An assertion about the app itself."""
        import jwt  # noqa: PLC0415  as MSAL, which brings it: only when first needed

        now = int(self.clock.time())
        header: dict[str, object] = {
            "x5t#S256": base64.urlsafe_b64encode(self.thumbprint).rstrip(b"=").decode("ascii")
        }
        if self.chain:
            # Not the URL-safe alphabet (RFC 7515 section 4.1.6).
            header["x5c"] = [base64.b64encode(certificate).decode("ascii") for certificate in self.chain]
        claims = {
            "iss": client_id,
            "sub": client_id,
            "aud": token_endpoint,
            "jti": str(uuid4()),
            "iat": now,
            "nbf": now,
            "exp": now + ASSERTION_LIFE,
        }
        return jwt.encode(claims, self.key_pem.decode("ascii"), "PS256", headers=header)


def credential(proof: Proof | None) -> object:
    """A proof in the form that MSAL takes as `client_credential`."""
    if proof is None or isinstance(proof, str):
        return proof
    return {"client_assertion": partial(_asserted, proof)}


def _asserted(proof: Assertion, request: dict[str, str]) -> str:
    """What MSAL calls for each request; it passes one argument to those that need one."""
    return proof.text(request["client_id"], request["token_endpoint"])
