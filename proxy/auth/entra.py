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
from .keeping import Obtained, Place, Tokens, purpose_of
from .kept import account_of_entry
from .msal_room import LIMITS, Outcome, Room, Rooms, TimeLimits, outages
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
        place: Place | None = None,
    ) -> None:
        """`place` is where tokens and sign-ins are kept beside the process, if anywhere."""
        self._ask_authority = authority
        self._authority: Authority | None = None
        self._registration = registration
        self._scopes = [registration.scope]
        self._clock = clock
        self._limits = limits
        self._rooms = Rooms(registration, limits, place)
        self._people = people
        self._place = place
        self._issued: dict[str, str] = {}
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

    async def app_token(
        self, proof: Proof, *, claims: str | None = None, was_refused: bool = False
    ) -> AccessToken:
        """A token of the app itself, which a secret or an assertion proves; never the last one again.

        `claims` are what a server wants of the token, as a JSON object; `was_refused` tells that it did not
        take the last one.
        """

        def ask(room: Room) -> Answer:
            room.app.remove_tokens_for_client()
            acquire = room.app.acquire_token_for_client
            return _mapping(acquire(self._scopes, claims_challenge=claims, **outages()))

        return await self._call(
            lambda room: self._obtained(room, self._registration, ask, was_refused=was_refused), proof
        )

    async def renewed(
        self, *, force: bool, claims: str | None = None, was_refused: bool = False
    ) -> AccessToken:
        """A token by the refresh token of whoever has signed in; `force` for one that MSAL does not hold.

        `claims` are what a server wants of the token, as a JSON object; where that needs the person, the next
        sign-in asks for it. `was_refused` tells that the server did not take the last token.
        """
        self._claims = claims or self._claims
        renewed = await self._renewed(
            self._registration,
            force=force,
            claims=self._claims,
            was_refused=was_refused or self._claims is not None,
        )
        self._claims = None
        return renewed

    async def renewed_for(self, audience: str, *, force: bool, was_refused: bool = False) -> AccessToken:
        """The same for another audience, which the sign-in did not name: consent may be missing there."""
        registration = replace(self._registration, audience=audience)
        return await self._renewed(registration, force=force, claims=None, was_refused=was_refused)

    def beside(self, audience: str) -> Entra:
        """The app's own tokens for another audience; closed by itself."""
        registration = replace(self._registration, audience=audience)
        return Entra(self._ask_authority, registration, self._clock, self._limits, place=self._place)

    async def _renewed(
        self, registration: Registration, *, force: bool, claims: str | None, was_refused: bool
    ) -> AccessToken:
        if self._entry is None and self._place is None:
            raise SignInRequired("Nobody has signed in yet", hint="Sign in.")

        def ask(room: Room) -> Answer:
            if self._entry is None:
                self._pick(room)
            answer = room.app.acquire_token_silent_with_error(
                [registration.scope],
                self._entry,
                force_refresh=force,
                claims_challenge=claims,
                **outages(),
            )
            if not answer:
                raise SignInRequired(
                    "There is no refresh token to renew the sign-in with", hint="Sign in again."
                )
            return _mapping(answer)

        return await self._call(lambda room: self._obtained(room, registration, ask, was_refused=was_refused))

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

        def ask(room: Room) -> AccessToken:
            asked_at = self._clock.time()
            with room.shared() as tokens:
                redeem = room.app.acquire_token_by_auth_code_flow
                return self._brought(tokens, self._pinned(room, redeem(flow.flow, dict(answer))), asked_at)

        return await self._call(ask)

    async def device_flow(self) -> DeviceFlow:
        """Begin a sign-in on another device."""

        def ask(room: Room) -> Answer:
            return _mapping(room.app.initiate_device_flow(self._scopes, claims_challenge=self._claims))

        answer = await self._call(ask)
        if "error" in answer:
            raise refusal(answer, self._question(by_person=True))
        texts = [answer.get(key) for key in ("verification_uri", "user_code", "message")]
        if not (all(isinstance(text, str) for text in texts) and "device_code" in answer):
            raise senseless("no device code")
        uri, code, message = (str(text) for text in texts)
        return DeviceFlow(uri, code, message, seconds(answer.get("expires_in")), dict(answer))

    async def polled(self, flow: DeviceFlow) -> AccessToken | None:
        """Ask once whether the person is done: the token, or None for not yet."""

        def ask(room: Room) -> AccessToken | None:
            flow.flow["latest_attempt_at"] = 0  # MSAL warns by its own clock; the caller waits by ours
            poll = room.app.acquire_token_by_device_flow
            asked_at = self._clock.time()
            with room.shared() as tokens:
                result = poll(flow.flow, claims_challenge=self._claims, exit_condition=lambda _flow: True)
                answer = self._pinned(room, result)
                return None if answer.get("error") in PENDING else self._brought(tokens, answer, asked_at)

        return await self._call(ask)

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

    def _obtained(
        self, room: Room, registration: Registration, ask: Callable[[Room], Answer], *, was_refused: bool
    ) -> AccessToken:
        """A token that another replica has obtained, or the one that is asked for, for all of them."""
        found = self._found(room, registration, room.look(), was_refused=was_refused)
        if found is not None:
            return found
        with room.shared() as tokens:
            found = self._found(room, registration, tokens, was_refused=was_refused)
            if found is not None:
                return found
            asked_at = self._clock.time()
            answer = ask(room)
            question = self._question(by_person=self._entry is None)  # an app, which nobody signs in
            question = replace(question, registration=registration)
            return self._put(tokens, token(answer, question, asked_at), asked_at, registration)

    def _found(
        self, room: Room, registration: Registration, tokens: Tokens, *, was_refused: bool
    ) -> AccessToken | None:
        if not tokens:
            return None
        if self._people is not None and self._entry is None:
            self._pick(room)
        purpose = self._purpose(registration)
        held, last = tokens.get(purpose), self._issued.get(purpose, "")
        if held is None or not held.serves(self._clock.time(), last, was_refused=was_refused):
            return None
        self._issued[purpose] = held.token.value
        return held.token

    def _put(
        self, tokens: Tokens, obtained: AccessToken, asked_at: float, registration: Registration
    ) -> AccessToken:
        """The token, shared from now on."""
        purpose = self._purpose(registration)
        self._issued[purpose] = obtained.value
        tokens[purpose] = Obtained(obtained, asked_at)
        return obtained

    def _purpose(self, registration: Registration) -> str:
        """What an access token is for: the scope, and the person's account."""
        home = self._entry["home_account_id"] if self._entry is not None else ""
        return purpose_of(registration.scope, home)

    def _brought(self, tokens: Tokens, answer: Answer, asked_at: float) -> AccessToken:
        """The token of a sign-in."""
        obtained = token(answer, self._question(by_person=True), asked_at)
        return self._put(tokens, obtained, asked_at, self._registration)

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

    def _question(self, *, by_person: bool) -> Question:
        where = self._authority
        if where is None:
            return Question(self._registration, "", by_person)
        return Question(self._registration, where.tenant, by_person, where.wrong_cloud)

    async def _call(self, ask: Callable[[Room], Outcome], proof: Proof | None = None) -> Outcome:
        if self._authority is None:
            self._authority = await self._ask_authority()
        async with self._turn:
            return await self._rooms.outcome(ask, self._authority, proof)


def _mapping(result: object) -> Answer:
    """What MSAL returns; empty for None, which means that it has nothing to work with."""
    return result if isinstance(result, dict) else {}
