"""The device authorization endpoint and the page where a person enters the code (RFC 8628)."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from . import pages
from .authority import Authority
from .calls import Call
from .errors import EntraError
from .grants import Decision, DeviceRequest, Grant, new_user_code
from .registry import User
from .scopes import Scopes
from .sign_in import Attempt, SignIns

DEVICE_CODE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@dataclass(frozen=True, slots=True)
class Device:
    """A waiting device as the destination of a sign-in."""

    request: DeviceRequest

    @property
    def redirect_uri(self) -> str:
        """Nowhere: the device polls."""
        return ""

    def accept(self, grant: Grant, user: User) -> web.Response:
        """Let the device's next poll succeed."""
        self.request.grant, self.request.decision = grant, Decision.ACCEPTED
        text = f"{user.username} is signed in on the device. You may close this window."
        return pages.message("device-signed-in", "You have signed in", text)

    def refuse(self, error: EntraError) -> web.Response:
        """Let the device's next poll fail."""
        self.request.decision = Decision.DECLINED
        return pages.message("device-declined", "You have not signed in", "", (error.code, error.text))


class DeviceEndpoint:
    """Answers `POST /{tenant}/oauth2/v2.0/devicecode` and the page `/devicelogin`."""

    def __init__(self, authority: Authority, sign_ins: SignIns) -> None:
        self._authority = authority
        self._sign_ins = sign_ins

    async def code(self, call: Call) -> web.Response:
        """A device code and a user code."""
        authority, lifetimes = self._authority, self._authority.lifetimes
        client = authority.client(call.form.get("client_id", ""), call.segment)
        if not client.public:
            raise EntraError(7000218)
        if DEVICE_CODE_GRANT not in client.grant_types:
            raise EntraError(70003, DEVICE_CODE_GRANT)
        scopes = Scopes.parse(call.require("scope"))
        authority.resource(scopes, client, call.segment)
        user_code, page = new_user_code(), f"{authority.origin}/devicelogin"
        request = DeviceRequest(
            client.client_id, call.segment, scopes, user_code, interval=lifetimes.device_interval
        )
        answer = {
            "user_code": user_code,
            "device_code": authority.devices.add(request, lifetimes.device_code),
            "verification_uri": page,
            "expires_in": int(lifetimes.device_code),
            "interval": int(lifetimes.device_interval),
            "message": f"To sign in, open the page {page} in a web browser and enter the code {user_code}.",
        }
        return web.json_response(answer, headers={"Cache-Control": "no-store"})

    async def page(self, call: Call) -> web.Response:
        """Where the code is entered; a right one leads to the sign-in page."""
        if call.method == "GET":
            return pages.device_code()
        user_code = call.form.get("user_code", "").replace("-", "").replace(" ", "").upper()
        request = next(
            (
                one
                for one in self._authority.devices.living()
                if one.user_code == user_code and one.decision is Decision.PENDING
            ),
            None,
        )
        if request is None:
            error = EntraError(70018 if user_code else 90119)
            return pages.device_code((error.code, error.text))
        client = self._authority.client(request.client_id, request.segment)
        # Always asked who: a code that somebody else sent must not be accepted by one careless click.
        attempt = Attempt(client, request.segment, request.scopes, Device(request), prompt="select_account")
        return self._sign_ins.begin(call, attempt)
