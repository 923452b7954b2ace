"""One app registration at Entra ID: what it asks for, and who has signed in.

MSAL serves as the protocol alone: what is kept, when it is renewed and who waits is decided above, in `cache`.
Calls to one Entra object wait for each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from ..errors import AuthenticationFailed, SignInRequired
from ..rules.accounts import Account
from .answers import Answer, Question, refusal, seconds, senseless, token
from .authorities import Authority
from .clock import Clock
from .flows import CodeFlow, DeviceFlow
from .kept import account_of_entry
from .msal_room import LIMITS, Ask, Room, Rooms, TimeLimits, outages
from .people import People, account_in
from .proofs import Proof
from .registration import Registration
from .sources import AccessToken

PENDING = frozenset({"authorization_pending", "slow_down"})
"""Errors of a device code that mean: ask again later (RFC 8628 section 3.5)."""


class Entra:
    """One app registration at one authority, asking for one scope.

    The calls raise AuthenticationFailed, SignInRequired or IdentityProviderUnavailable, and whatever
    `authority` raises, which is asked once, when it is first needed.
    """

    def __init__(
        self,
        authority: Callable[[], Awaitable[Authority]],
        registration: Registration,
        clock: Clock,
        limits: TimeLimits = LIMITS,
        *,
        people: People | None = None,
    ) -> None:
        self._ask_authority = authority
        self._authority: Authority | None = None
        self._registration = registration
        self._scopes = [registration.scope]
        self._clock = clock
        self._limits = limits
        self._rooms = Rooms(registration, limits, people)
        self._people = people
        self._entry: Mapping[str, str] | None = None
        self._claims: str | None = None
        self._somebody_was_refused = False
        self._turn = asyncio.Lock()  # a refresh token is replaced by its use
        self.account: Account | None = None
        """Whoever has signed in last; None before."""

    @property
    def account_name(self) -> str:
        """The user name of whoever has signed in last; empty before."""
        return self.account.username if self.account is not None else ""

    async def app_token(self, proof: Proof, *, claims: str | None = None) -> AccessToken:
        """A new token of the app itself, which a secret or an assertion proves.

        `claims` are what a server wants of the token, as a JSON object.
        """

        def ask(room: Room) -> Answer:
            room.app.remove_tokens_for_client()
            acquire = room.app.acquire_token_for_client
            return _mapping(acquire(self._scopes, claims_challenge=claims, **outages()))

        asked_at = self._clock.time()
        return token(await self._call(ask, proof), self._question(), asked_at)

    async def renewed(self, *, force: bool, claims: str | None = None) -> AccessToken:
        """A token by the refresh token of whoever has signed in; `force` for one that MSAL does not hold.

        `claims` are what a server wants of the token, as a JSON object; where that needs the person, the next
        sign-in asks for it.
        """
        self._claims = claims or self._claims
        renewed = await self._renewed(self._registration, force=force, claims=self._claims)
        self._claims = None
        return renewed

    async def renewed_for(self, audience: str, *, force: bool) -> AccessToken:
        """The same for another audience, which the sign-in did not name: consent may be missing there."""
        return await self._renewed(replace(self._registration, audience=audience), force=force)

    def beside(self, audience: str) -> Entra:
        """The app's own tokens for another audience; closed by itself."""
        registration = replace(self._registration, audience=audience)
        return Entra(self._ask_authority, registration, self._clock, self._limits)

    async def _renewed(
        self, registration: Registration, *, force: bool, claims: str | None = None
    ) -> AccessToken:
        if self._entry is None and (self._people is None or not self._people.are_kept):
            raise SignInRequired("Nobody has signed in yet", hint="Sign in.")

        def ask(room: Room) -> Answer:
            with room.shared():
                if self._entry is None:
                    self._pick(room)
                return _mapping(
                    room.app.acquire_token_silent_with_error(
                        [registration.scope],
                        self._entry,
                        force_refresh=force,
                        claims_challenge=claims,
                        **outages(),
                    )
                )

        asked_at = self._clock.time()
        answer = await self._call(ask)
        if not answer:
            raise SignInRequired("There is no refresh token to renew the sign-in with", hint="Sign in again.")
        return token(answer, replace(self._question(by_person=False), registration=registration), asked_at)

    async def code_flow(self, redirect_uri: str, *, other_account: bool = False) -> CodeFlow:
        """Begin a sign-in in the browser; the first lets the person choose the account, others name it.

        With `other_account` the person chooses again.
        """

        def ask(room: Room) -> Answer:
            expected = self._people.expected if self._people is not None else ""
            name = expected if other_account else self.account_name or expected
            who = {"login_hint": name} if name else {}
            if other_account or not name or self._somebody_was_refused:
                who["prompt"] = "select_account"
            return _mapping(
                room.app.initiate_auth_code_flow(
                    self._scopes,
                    redirect_uri=redirect_uri,
                    response_mode="form_post",
                    claims_challenge=self._claims,
                    **who,
                )
            )

        flow = dict(await self._call(ask))
        return CodeFlow(str(flow["auth_uri"]), str(flow["state"]), flow)

    async def redeemed(self, flow: CodeFlow, answer: Mapping[str, str]) -> AccessToken:
        """The token for what the browser brought back."""
        asked_at = self._clock.time()

        def ask(room: Room) -> Answer:
            with room.shared():
                return self._pinned(room, room.app.acquire_token_by_auth_code_flow(flow.flow, dict(answer)))

        return token(await self._call(ask), self._question(), asked_at)

    async def device_flow(self) -> DeviceFlow:
        """Begin a sign-in on another device."""

        def ask(room: Room) -> Answer:
            return _mapping(room.app.initiate_device_flow(self._scopes, claims_challenge=self._claims))

        answer = await self._call(ask)
        if "error" in answer:
            raise refusal(answer, self._question())
        texts = [answer.get(key) for key in ("verification_uri", "user_code", "message")]
        if not (all(isinstance(text, str) for text in texts) and "device_code" in answer):
            raise senseless("no device code")
        uri, code, message = (str(text) for text in texts)
        return DeviceFlow(uri, code, message, seconds(answer.get("expires_in")), dict(answer))

    async def polled(self, flow: DeviceFlow) -> AccessToken | None:
        """Ask once whether the person is done: the token, or None for not yet."""

        def ask(room: Room) -> Answer:
            flow.flow["latest_attempt_at"] = 0  # MSAL warns by its own clock; the caller waits by ours
            poll = room.app.acquire_token_by_device_flow
            with room.shared():
                result = poll(flow.flow, claims_challenge=self._claims, exit_condition=lambda _flow: True)
                return self._pinned(room, result)

        asked_at = self._clock.time()
        answer = await self._call(ask)
        return None if answer.get("error") in PENDING else token(answer, self._question(), asked_at)

    async def forget(self) -> None:
        """Forget whoever has signed in, here and where sign-ins are kept."""

        def ask(room: Room) -> Answer:
            with room.shared():
                for entry in room.app.get_accounts():
                    if self._entry is not None and entry["home_account_id"] == self._entry["home_account_id"]:
                        room.app.remove_account(entry)
            return {}

        if self._entry is not None:
            await self._call(ask)
        self._entry = self.account = self._claims = None

    def close(self) -> None:
        """Close the idle connections; a call that hangs is left to itself and closes its own at its end."""
        self._rooms.close()

    def _pinned(self, room: Room, result: object) -> Answer:
        """The answer to a sign-in; from now on its account is the one that is renewed.

        SignInRequired for an account that the settings refuse, of which nothing is kept then.
        """
        answer = _mapping(result)
        if "access_token" not in answer:
            return answer
        account, before = account_in(answer), self._entry
        entries = room.app.get_accounts()
        entry = next((one for one in entries if one["home_account_id"] == account.home_account_id), None)
        refused = self._people.refused(account, room.authority) if self._people is not None else None
        if refused is not None:
            if entry is not None and entry != before:
                room.app.remove_account(entry)
            self._somebody_was_refused = True
            raise SignInRequired(refused.message, hint=refused.fix)
        if before is not None and entry is not None and before["home_account_id"] != entry["home_account_id"]:
            room.app.remove_account(before)
        self._entry, self.account = entry, account
        self._claims, self._somebody_was_refused = None, False
        return answer

    def _pick(self, room: Room) -> None:
        """Go on as the one account that is kept and that the settings take.

        SignInRequired where there is none, AuthenticationFailed where there are several.
        """
        people = self._people
        found = {
            account.home_account_id: (account, entry)
            for entry in room.app.get_accounts()
            for account in [account_of_entry(entry)]
            if people is not None and people.refused(account, room.authority) is None
        }
        if not found:
            raise SignInRequired("Nobody has signed in yet", hint="Sign in.")
        if len(found) > 1:
            names = ", ".join(sorted(account.username for account, _ in found.values()))
            raise AuthenticationFailed(
                f"Several accounts are signed in for {self._registration.base_url}: {names}",
                hint="Say which one to use with --account NAME, or sign the others out: fhir-auth-proxy logout "
                "NAME.",
            )
        ((self.account, self._entry),) = found.values()

    def _question(self, *, by_person: bool = True) -> Question:
        where = self._authority
        if where is None:
            return Question(self._registration, "", by_person)
        return Question(self._registration, where.tenant, by_person, where.wrong_cloud)

    async def _call(self, ask: Ask, proof: Proof | None = None) -> Answer:
        if self._authority is None:
            self._authority = await self._ask_authority()
        async with self._turn:
            return await self._rooms.answer(ask, self._authority, proof)


def _mapping(result: object) -> Answer:
    """What MSAL returns; empty for None, which means that it has nothing to work with."""
    return result if isinstance(result, dict) else {}
