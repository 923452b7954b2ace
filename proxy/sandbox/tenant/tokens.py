"""Signed tokens: how the tenant makes them, and how a server that trusts the tenant checks them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from jwt.types import Options

ALGORITHM = "RS256"
NO_CLAIM_CHECKS: Options = {
    "verify_aud": False,
    "verify_iss": False,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_sub": False,
    "verify_jti": False,
}
"""PyJWT reads the machine's clock and tells little; only the signature is left to it."""


class InvalidToken(Exception):
    """A token that a server must refuse; `reason` says why in words, and never holds the token itself."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid access token says, under Entra's names.

    `scp` holds the delegated permissions and is empty for an application, whose permissions are in `roles`;
    both are empty for an application without any. `upn` is the user name, empty for an application. Times are
    seconds since the epoch. `xms_cc` holds the client's capabilities: `CP1` where it understands claims
    challenges.
    """

    aud: str
    iss: str
    tid: str
    oid: str
    appid: str
    scp: tuple[str, ...]
    roles: tuple[str, ...]
    upn: str
    ver: str
    iat: float
    exp: float
    xms_cc: tuple[str, ...] = ()


class Signer:
    """One RSA key pair, made at the start and kept in memory."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._id = uuid4().hex

    def sign(self, claims: Mapping[str, object]) -> str:
        """A compact JWS (RFC 7515 section 3.1)."""
        return jwt.encode(dict(claims), self._key, ALGORITHM, headers={"kid": self._id})

    def jwks(self) -> dict[str, object]:
        """The public key as a JSON Web Key Set (RFC 7517 section 5)."""
        key: dict[str, object] = json.loads(RSAAlgorithm.to_jwk(self._key.public_key()))
        wanted = {name: key[name] for name in ("kty", "n", "e")}
        return {"keys": [{**wanted, "use": "sig", "alg": ALGORITHM, "kid": self._id}]}

    def verify(self, token: str, audience: str, issuers: Collection[str], now: float) -> Claims:
        """The claims of an access token made by this key for an audience; InvalidToken says what is off."""
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            claims = jwt.decode(token, self._key.public_key(), [ALGORITHM], options=NO_CLAIM_CHECKS)
        except jwt.InvalidSignatureError:
            raise InvalidToken("The signature key was not found or the signature is invalid") from None
        except jwt.InvalidAlgorithmError:
            raise InvalidToken(f"The token is not signed with {ALGORITHM}") from None
        except jwt.PyJWTError:
            raise InvalidToken("The token is not a signed JWT") from None
        if kid != self._id:
            raise InvalidToken("The signature key was not found or the signature is invalid")
        if claims.get("iss") not in issuers:
            raise InvalidToken(f"The issuer '{claims.get('iss')}' is invalid")
        if claims.get("aud") != audience:
            raise InvalidToken(f"The audience '{claims.get('aud')}' is invalid")
        if now >= float(claims["exp"]):
            raise InvalidToken(f"The token expired {now - float(claims['exp']):.0f} seconds ago")
        if now < float(claims["nbf"]):
            raise InvalidToken(f"The token is not valid for another {float(claims['nbf']) - now:.0f} seconds")
        read = _read(claims)
        if not read.appid:
            raise InvalidToken("The token is not an access token")
        return read


def _read(claims: Mapping[str, object]) -> Claims:
    return Claims(
        aud=str(claims["aud"]),
        iss=str(claims["iss"]),
        tid=str(claims["tid"]),
        oid=str(claims["oid"]),
        appid=str(claims.get("appid") or claims.get("azp") or ""),
        scp=tuple(str(claims.get("scp", "")).split()),
        roles=_texts(claims.get("roles")),
        upn=str(claims.get("upn") or claims.get("preferred_username") or claims.get("unique_name") or ""),
        ver=str(claims["ver"]),
        iat=float(str(claims["iat"])),
        exp=float(str(claims["exp"])),
        xms_cc=_texts(claims.get("xms_cc")),
    )


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, list) else ()
