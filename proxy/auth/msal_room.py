"""The room of MSAL: the module that calls it for Entra ID, and that knows its exceptions and its habits.

MSAL blocks, so every call runs in a thread of its own, with a limit on the whole. It is imported in the first
such thread, since that takes 0.2 s.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from ..errors import AuthenticationFailed, IdentityProviderUnavailable
from .answers import senseless
from .authorities import Authority
from .keeping import Keeping, Place, Tokens, TurnLost
from .proofs import Proof, credential
from .registration import Registration
from .threads import in_thread

if TYPE_CHECKING:
    import msal

    from .http import EntraHttp

CAPABILITIES = ("CP1",)
"""Told to Entra ID with each request: claims challenges are understood here (Microsoft, "Claims challenges,
claims requests, and client capabilities")."""

# MSAL logs an answer that it cannot read as it came, tokens included, and codes at debug level.
_msal_log = logging.getLogger("msal")
_msal_log.addHandler(logging.NullHandler())
_msal_log.propagate = False
_msal_log.setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Seconds for a TCP connection with TLS, for a silence, and for all the requests of one call together.

    A request is answered within 30 s when Entra ID hangs: connect and read after each other fit in `total`.
    """

    connect: float = 5.0
    read: float = 20.0
    total: float = 28.0


LIMITS = TimeLimits()


@dataclass(frozen=True, slots=True)
class Room:
    """An MSAL application with its memory of refusals and its connections."""

    authority: Authority
    proof: Proof | None = field(repr=False)
    app: msal.ClientApplication = field(repr=False)
    replays: dict[str, object] = field(repr=False)
    http: EntraHttp = field(repr=False)
    keeping: Keeping | None = None

    def look(self) -> Tokens:
        """The access tokens that others share now."""
        return {} if self.keeping is None else self.keeping.look(self.app.token_cache)

    def shared(self) -> AbstractContextManager[Tokens]:
        """Work with what is kept as it is now, alone among all processes."""
        return nullcontext({}) if self.keeping is None else self.keeping.shared(self.app.token_cache)

    def close(self) -> None:
        """Close the idle connections."""
        self.http.close()
        if self.keeping is not None:
            self.keeping.close()


Outcome = TypeVar("Outcome")


class Rooms:
    """The room of one app registration: built when first needed, and again for another proof."""

    def __init__(self, registration: Registration, limits: TimeLimits, place: Place | None) -> None:
        self._registration = registration
        self._limits = limits
        self._place = place
        self._room: Room | None = None
        self._is_closed = False

    async def outcome(
        self, ask: Callable[[Room], Outcome], authority: Authority, proof: Proof | None
    ) -> Outcome:
        """What comes of a call of MSAL, made in a thread.

        AuthenticationFailed or IdentityProviderUnavailable where it raises or hangs.
        """
        try:
            async with asyncio.timeout(self._limits.total):
                return await in_thread(lambda: self._in_thread(authority, proof, ask))
        except TimeoutError:
            raise IdentityProviderUnavailable(
                f"{_host(authority)} did not answer within {self._limits.total:g} seconds",
                hint="Try again; look at the network between here and there.",
            ) from None

    def close(self) -> None:
        """Close the idle connections; a call that hangs is left to itself and closes its own at its end."""
        self._is_closed = True
        if self._room is not None:
            self._room.close()

    def _in_thread(
        self, authority: Authority, proof: Proof | None, ask: Callable[[Room], Outcome]
    ) -> Outcome:
        import msal  # noqa: PLC0415  it takes 0.2 s, which not every way to sign in needs, and no start

        from .http import RequestException, unavailable  # noqa: PLC0415  the same for requests

        try:
            room = self._entered(authority, proof)
            room.replays.clear()  # MSAL would answer a refused request with the same refusal for a minute
            try:
                return ask(room)
            except TurnLost:  # nothing was sent
                return ask(room)
        except RequestException as error:
            raise unavailable(error, _host(authority)) from error
        except (
            msal.exceptions.MsalError,
            AssertionError,
            AttributeError,
            LookupError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:
            raise senseless(type(error).__name__) from error
        finally:
            if self._is_closed and self._room is not None:
                self._room.close()

    def _entered(self, authority: Authority, proof: Proof | None) -> Room:
        """The MSAL application: built when first needed, since that asks the authority, and per proof."""
        room = self._room
        if room is not None and room.proof != proof:
            room.close()
            room = None
        if room is None:
            room = self._room = self._built(authority, proof)
        return room

    def _built(self, authority: Authority, proof: Proof | None) -> Room:
        import msal  # noqa: PLC0415  as above

        from .http import EntraHttp, RequestException  # noqa: PLC0415  as above

        keeping = self._place(authority) if self._place is not None else None
        check = keeping.check if keeping is not None else lambda: None
        http = EntraHttp(self._registration.ca_bundle, self._limits.connect, self._limits.read, check)
        replays: dict[str, object] = {}
        room = None
        application = msal.PublicClientApplication if proof is None else msal.ConfidentialClientApplication
        try:
            app = application(
                self._registration.client_id,
                client_credential=credential(proof),
                authority=authority.url,
                instance_discovery=False,  # `authorities` has judged the host; nobody else is asked about it
                http_client=http,
                http_cache=replays,
                client_capabilities=list(CAPABILITIES),
                token_cache=msal.SerializableTokenCache(),
            )
            room = Room(authority, proof, app, replays, http, keeping)
        except RequestException:  # some are ValueErrors as well
            raise
        except ValueError as error:
            cloud = f" {authority.wrong_cloud}." if authority.wrong_cloud else ""
            raise AuthenticationFailed(
                f"{_host(authority)} knows no tenant {authority.tenant!r}",
                hint=f"Check the tenant (--tenant, AZURE_TENANT_ID) and the cloud that it is in.{cloud}",
            ) from error
        finally:
            if room is None:
                http.close()
        return room


def outages() -> dict[str, object]:
    """The exceptions for which MSAL falls back on a token that is still good."""
    import msal  # noqa: PLC0415  as above

    from .http import RequestException  # noqa: PLC0415  as above

    return {"http_exceptions": (RequestException, msal.exceptions.MsalServiceError)}


def _host(authority: Authority) -> str:
    return urlsplit(authority.url).netloc
