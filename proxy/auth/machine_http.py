"""HTTP towards the machine's own endpoints: no proxy, no redirects, and soon clear that none is there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import requests
from requests import PreparedRequest, RequestException, Response
from requests.exceptions import ConnectionError as Unreachable
from requests.exceptions import ConnectTimeout

from ..errors import IdentityProviderUnavailable

__all__ = ["MachineSession", "RequestException", "unavailable"]

CONNECT, READ = 2.0, 15.0
"""Seconds for a connection and for a silence. The metadata service is one hop away, and a laptop without it
shall hear so at once; Azure SDKs wait 1 s."""

PASSING = frozenset({410, 429, 502, 503, 504})
"""Answers that another try may change (Microsoft, "How to use managed identities on an Azure VM to acquire
an access token", error handling)."""


class Busy(RequestException):
    """The endpoint asks for patience."""

    def __init__(self, status: int, retry_after: int | None) -> None:
        super().__init__(f"it answers {status}")
        self.retry_after = retry_after


class MachineSession(requests.Session):
    """What MSAL is given: its check of Service Fabric's certificate needs a Session."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False  # neither HTTP_PROXY nor a .netrc has a say in this
        self.headers["Connection"] = "close"  # one question, and no socket that stays behind

    def send(self, request: PreparedRequest, **_options: object) -> Response:
        """Send within the time limits. Raises RequestException, Busy among them."""
        response = super().send(request, timeout=(CONNECT, READ), allow_redirects=False, proxies={})
        if response.status_code in PASSING:
            raise Busy(response.status_code, _retry_after(response.headers))
        return response


def unavailable(error: RequestException, not_here: str) -> IdentityProviderUnavailable:
    """The error for a question that found no endpoint, or one in trouble; the texts of requests stay out."""
    url = error.request.url if error.request is not None else None
    place = f" at {urlsplit(url).netloc}" if isinstance(url, str) else ""
    if isinstance(error, Busy):
        return IdentityProviderUnavailable(
            f"The managed identity endpoint is busy: {error}",
            hint="Try again.",
            retry_after=error.retry_after,
        )
    if isinstance(error, ConnectTimeout | Unreachable):
        return IdentityProviderUnavailable(
            f"There is no managed identity endpoint{place}: nothing answers there", hint=not_here
        )
    return IdentityProviderUnavailable(
        f"The managed identity endpoint{place} does not answer ({type(error).__name__})", hint="Try again."
    )


def _retry_after(headers: Mapping[str, str]) -> int | None:
    text = headers.get("Retry-After", "")
    return int(text) if re.fullmatch(r"[0-9]{1,6}", text) else None
