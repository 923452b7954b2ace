"""Sign in as the machine: Azure gives it an identity, and an endpoint of its own hands out its tokens.

Which endpoint is found by MSAL in the environment: App Service and Container Apps (IDENTITY_ENDPOINT and
IDENTITY_HEADER), Service Fabric, Azure ML, Arc, and otherwise the instance metadata service of a virtual
machine, or of AKS. All of them are on or beside this machine and are never asked through an HTTP proxy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from ..config import ServerConfig
from ..errors import AuthenticationFailed, IdentityProviderUnavailable
from ..model import Rejection
from ..rules.audiences import audience
from ..rules.rejections import refused_after_sign_in
from .answers import cleaned, seconds
from .cache import CachedAuthenticator
from .clock import Clock
from .seams import Authenticator, Seams
from .sources import AccessToken
from .threads import in_thread

if TYPE_CHECKING:
    import msal

TOTAL = 20.0
"""Seconds for all of an acquisition; a metadata service that is there answers within a few."""

NOT_HERE = (
    "Managed identities exist on Azure's own machines alone (virtual machines, AKS, App Service, Container "
    "Apps, Functions, Arc). Elsewhere sign in with --auth interactive, client-certificate or azure-cli."
)


def managed_identity(config: ServerConfig, seams: Seams) -> Authenticator:
    """Tokens of the machine's identity; ConfigError where the audience is not one to ask for."""
    source = ManagedIdentitySource(config, audience(config), seams.clock)
    return CachedAuthenticator(source, seams.clock, partial(refused_after_sign_in, config))


class ManagedIdentitySource:
    """A TokenSource that asks the machine's endpoint each time."""

    def __init__(self, config: ServerConfig, resource: str, clock: Clock) -> None:
        self._config = config
        self._resource = resource
        self._clock = clock

    async def acquire(self, *, rejected: Rejection | None) -> AccessToken:  # noqa: ARG002  all are new
        """A new token of the identity."""
        asked_at = self._clock.time()
        try:
            async with asyncio.timeout(TOTAL):
                answer = await in_thread(self._ask)
        except TimeoutError:
            raise IdentityProviderUnavailable(
                f"The managed identity endpoint did not answer within {TOTAL:g} seconds", hint="Try again."
            ) from None
        value, expires_in = answer.get("access_token"), seconds(answer.get("expires_in"))
        if not isinstance(value, str) or not value:
            raise self._refusal(answer)
        # MSAL's `refresh_on` says half of the life for tokens of a day.
        refresh_in = seconds(answer.get("refresh_in")) or expires_in
        return AccessToken(value, asked_at + expires_in, asked_at + refresh_in)

    def beside(self, audience: str) -> ManagedIdentitySource:
        """The same identity's tokens for another audience."""
        return ManagedIdentitySource(self._config, audience, self._clock)

    async def close(self) -> None:
        """A question that is under way is left to itself; nothing is kept between two."""

    def _ask(self) -> Mapping[str, object]:
        import msal  # noqa: PLC0415  it takes 0.2 s, which not every way to sign in needs, and no start

        from .machine_http import MachineSession, RequestException, unavailable  # noqa: PLC0415  as above

        with MachineSession() as session:
            # Made anew, since MSAL would answer from its memory: `cache` has decided already.
            client = msal.ManagedIdentityClient(self._identity(), http_client=session)
            try:
                answer = client.acquire_token_for_client(resource=self._resource)
            except RequestException as error:
                raise unavailable(error, NOT_HERE) from error
            except (
                msal.exceptions.MsalError,
                msal.managed_identity.ManagedIdentityError,
                AttributeError,
                LookupError,
                TypeError,
                ValueError,
            ) as error:
                raise AuthenticationFailed(
                    f"The managed identity endpoint gives an answer that makes no sense ({type(error).__name__})",
                    hint=NOT_HERE,
                ) from error
        return answer if isinstance(answer, dict) else {}

    def _identity(self) -> msal.ManagedIdentity:
        import msal  # noqa: PLC0415  as above

        config = self._config
        if config.client_id:
            return msal.UserAssignedManagedIdentity(client_id=config.client_id)
        if config.managed_identity_resource_id:
            return msal.UserAssignedManagedIdentity(resource_id=config.managed_identity_resource_id)
        if config.managed_identity_object_id:
            return msal.UserAssignedManagedIdentity(object_id=config.managed_identity_object_id)
        return msal.SystemAssignedManagedIdentity()

    @property
    def _named(self) -> str:
        """The identity as the settings name it."""
        config = self._config
        given = (
            ("client id", config.client_id),
            ("resource id", config.managed_identity_resource_id),
            ("object id", config.managed_identity_object_id),
        )
        return next(
            (f"the identity with the {kind} {value}" for kind, value in given if value),
            "the system-assigned identity",
        )

    def _refusal(self, answer: Mapping[str, object]) -> AuthenticationFailed:
        said = cleaned(str(answer.get("error_description") or answer.get("error") or "")) or "nothing"
        return AuthenticationFailed(
            f"The managed identity endpoint gives no token of {self._named} for {self._resource}. It says: {said}",
            hint="Check that this identity is assigned to this machine (az vm identity show, az webapp "
            "identity show), and that the audience is right. A user-assigned one is named by --client-id "
            "(AZURE_CLIENT_ID), --managed-identity-resource-id or --managed-identity-object-id.",
        )
