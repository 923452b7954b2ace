"""The token endpoint: a code, a refresh token, a device code or a proof becomes tokens (RFC 6749, 3.2)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace

from aiohttp import web

from . import proofs
from .authority import Authority
from .calls import Call
from .errors import EntraError
from .grants import Decision, DeviceRequest
from .issuing import PUBLIC, Issuing, Wish
from .registry import Client
from .scopes import Scopes

NO_STORE = {"Cache-Control": "no-store, no-cache", "Pragma": "no-cache"}
POLLING_TOLERANCE = 1.0
"""Seconds that a poll may come early: the client's timer and the way to here are not exact."""
SLOW_DOWN = 5.0
"""Seconds by which each `slow_down` raises the interval (RFC 8628 section 3.5)."""


class TokenEndpoint:
    """Answers `POST /{tenant}/oauth2/v2.0/token`."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._issuing = Issuing(authority)
        self._grants = {
            "authorization_code": self._redeem_code,
            "refresh_token": self._refresh,
            "client_credentials": self._serve_application,
            "urn:ietf:params:oauth:grant-type:device_code": self._poll_device,
        }

    async def answer(self, call: Call) -> web.Response:
        """Tokens, or EntraError."""
        self._authority.directory(call.segment)
        grant_type = call.require("grant_type")
        client = self._authority.client(call.form.get("client_id", ""), call.segment)
        if grant_type not in self._grants or grant_type not in client.grant_types:
            raise EntraError(70003, grant_type)
        return web.json_response(self._grants[grant_type](call, client), headers=NO_STORE)

    def _redeem_code(self, call: Call, client: Client) -> dict[str, object]:
        entry = self._authority.codes.get(call.require("code"))
        if entry is None or entry.value.grant.client_id != client.client_id:
            raise EntraError(70000)
        code = entry.value
        proof = self._proof(call, client, is_confidential=code.grant.is_confidential)
        if self._authority.codes.is_expired(entry):
            raise EntraError(70008)
        if code.is_redeemed:
            raise EntraError(54005)
        if call.require("redirect_uri") != code.redirect_uri:
            raise EntraError(500112, call.require("redirect_uri"))
        if code.code_challenge and not _is_verified(code.code_challenge, call.form.get("code_verifier", "")):
            raise EntraError(501481)
        answer = self._issuing.to_person(code.grant, _wish(call, code.grant.scopes), proof)
        code.is_redeemed = True
        return answer

    def _refresh(self, call: Call, client: Client) -> dict[str, object]:
        tokens, name = self._authority.refresh_tokens, call.require("refresh_token")
        entry = tokens.get(name)
        if entry is None or entry.value.grant.client_id != client.client_id:
            raise EntraError(70000)
        grant = entry.value.grant
        proof = self._proof(call, client, is_confidential=grant.is_confidential)
        if entry.value.is_revoked:
            raise EntraError(50173)
        if tokens.is_expired(entry):
            raise EntraError(700082)
        directory = self._authority.directory(call.segment)
        if directory is not None and directory.id != grant.directory_id:
            user = self._authority.known_user(grant.username)
            grant = replace(grant, directory_id=self._authority.directory_for(user, call.segment).id)
        wish = _wish(call, grant.scopes)
        # A refresh token begets another even if this request did not ask for one again.
        scopes = replace(wish.scopes, openid=wish.scopes.openid | {"offline_access"})
        answer = self._issuing.to_person(replace(grant, nonce=""), replace(wish, scopes=scopes), proof)
        tokens.remove(name)
        return answer

    def _serve_application(self, call: Call, client: Client) -> dict[str, object]:
        directory = self._authority.directory(call.segment)
        if directory is None:
            raise EntraError(50059)
        proof = self._proof(call, client, is_confidential=True)
        wish = _wish(call, Scopes.parse(call.require("scope")))
        return self._issuing.to_application(client, directory, wish, proof)

    def _poll_device(self, call: Call, client: Client) -> dict[str, object]:
        # MSAL sends the code under both names, older clients under `code` alone.
        entry = self._authority.devices.get(call.form.get("device_code") or call.require("code"))
        if entry is None or entry.value.client_id != client.client_id:
            raise EntraError(70018)
        device = entry.value
        proof = self._proof(call, client, is_confidential=False)
        if device.decision is Decision.REDEEMED:
            raise EntraError(70018)
        if device.decision is Decision.DECLINED:
            raise EntraError(65004, error="authorization_declined")
        if self._authority.devices.is_expired(entry):
            raise EntraError(70019)
        if device.grant is None:
            raise self._pending(device)
        answer = self._issuing.to_person(device.grant, _wish(call, device.grant.scopes), proof)
        device.decision = Decision.REDEEMED
        return answer

    def _pending(self, device: DeviceRequest) -> EntraError:
        now, before = self._authority.clock(), device.polled_at
        device.polled_at = now
        if before is not None and now - before < device.interval - POLLING_TOLERANCE:
            device.interval += SLOW_DOWN
            return EntraError(70016, error="slow_down")
        return EntraError(70016)

    def _proof(self, call: Call, client: Client, *, is_confidential: bool) -> str:
        """How the client proves itself; a public one must not, a confidential one must."""
        proof = PUBLIC
        if is_confidential:
            proof = proofs.check(client, call.form, self._endpoints(call.segment), self._authority.clock())
        elif proofs.is_offered(call.form):
            raise EntraError(700025, client.client_id)
        if client.problem is not None:
            raise EntraError(client.problem, client.client_id)
        return proof

    def _endpoints(self, segment: str) -> frozenset[str]:
        directory = self._authority.directory(segment)
        names = {segment, *(() if directory is None else (directory.id, *directory.domains))}
        return frozenset(f"{self._authority.origin}/{name}/oauth2/v2.0/token" for name in names)


def _wish(call: Call, scopes: Scopes) -> Wish:
    """What is asked for, by the request or else by its grant; EntraError 9002313 for malformed claims."""
    wanted = Scopes.parse(call.form["scope"]) if call.form.get("scope", "").strip() else scopes
    if not wanted.resource:
        wanted = replace(scopes, openid=scopes.openid | wanted.openid)
    return Wish(wanted, _capabilities(call.form.get("claims", "")), call.lifetime)


def _capabilities(claims: str) -> tuple[str, ...]:
    """The client's capabilities in a `claims` parameter (OpenID Connect Core section 5.5)."""
    if not claims:
        return ()
    try:
        asked = json.loads(claims)
    except ValueError:
        raise EntraError(9002313, "the claims parameter is not JSON") from None
    for name in ("access_token", "xms_cc", "values"):
        if not isinstance(asked, dict):
            raise EntraError(9002313, "the claims parameter does not have the right shape")
        asked = asked.get(name) or ([] if name == "values" else {})
    return tuple(str(value) for value in asked) if isinstance(asked, list) else ()


def _is_verified(challenge: str, verifier: str) -> bool:
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    return hmac.compare_digest(digest, challenge.encode())
