"""What the tests of the tenant say to it, over its socket and off the event loop."""

from __future__ import annotations

import asyncio
import base64
import hashlib

import msal
import requests

from proxy.sandbox.tenant import CLINIC, DESKTOP, SECRET, SERVICE, Tenant

from ..browser import Browser, Page

AUDIENCE = "https://fhir.clinic.example"
USER_SCOPE = f"{AUDIENCE}/user_impersonation"
APP_SCOPE = f"{AUDIENCE}/.default"
REDIRECT = "http://localhost:53123"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()

AUTHORIZE = {
    "client_id": DESKTOP.client_id,
    "response_type": "code",
    "response_mode": "form_post",
    "redirect_uri": REDIRECT,
    "scope": f"openid profile offline_access {USER_SCOPE}",
    "state": "<state>&",
    "nonce": "the-nonce",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
    "client_info": "1",
}
APPLICATION = {
    "grant_type": "client_credentials",
    "client_id": SERVICE.client_id,
    "client_secret": SECRET,
    "scope": APP_SCOPE,
}
REDEEM = {
    "grant_type": "authorization_code",
    "client_id": DESKTOP.client_id,
    "redirect_uri": REDIRECT,
    "code_verifier": VERIFIER,
}


async def public(tenant: Tenant, session: requests.Session, **more: object) -> msal.PublicClientApplication:
    """MSAL as a desktop application uses it; its constructor fetches the metadata, hence the thread."""

    def work() -> msal.PublicClientApplication:
        return msal.PublicClientApplication(
            DESKTOP.client_id,
            authority=tenant.authority,
            instance_discovery=False,
            http_client=session,
            **more,
        )

    return await asyncio.to_thread(work)


def confidential(
    tenant: Tenant, session: requests.Session, credential: object
) -> msal.ConfidentialClientApplication:
    """MSAL as a service uses it; to be made in a thread."""
    return msal.ConfidentialClientApplication(
        SERVICE.client_id,
        client_credential=credential,
        authority=tenant.authority,
        instance_discovery=False,
        http_client=session,
    )


async def ask(
    tenant: Tenant,
    session: requests.Session,
    form: dict[str, str],
    *,
    segment: str = CLINIC.id,
    path: str = "token",
) -> requests.Response:
    """POST a form to an endpoint; empty values are left out."""
    url = f"{tenant.origin}/{segment}/oauth2/v2.0/{path}"
    data = {name: value for name, value in form.items() if value}
    return await asyncio.to_thread(session.post, url, data=data)


async def authorize(tenant: Tenant, browser: Browser, *, segment: str = CLINIC.id, **more: str) -> Page:
    """Open the authorization endpoint; empty values are left out."""
    query = {name: value for name, value in {**AUTHORIZE, **more}.items() if value}
    url = f"{tenant.origin}/{segment}/oauth2/v2.0/authorize"
    return await asyncio.to_thread(browser.open, url, query)
