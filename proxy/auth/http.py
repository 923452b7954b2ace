"""HTTP towards Entra ID: trust, corporate proxies, time limits, and answers that MSAL can take.

MSAL takes any object with `get`, `post` and `close`. This one keeps the traps of the default away: `requests`
lets REQUESTS_CA_BUNDLE override a configured bundle, waits forever, follows redirects with the body of a
token request, and sends the passwords of a .netrc file. An answer that is an outage (429, 5xx, no JSON)
becomes an exception here, before MSAL can log it, remember it, or lose a valid token over it.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import requests
from requests import RequestException
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3 import PoolManager, ProxyManager

from ..errors import IdentityProviderUnavailable
from ..model import is_loopback
from ..rules.no_proxy import excluded_hosts, is_excluded
from ..trust import UNTRUSTED, hint, trust

__all__ = ["EntraHttp", "Outage", "RequestException", "TrustingAdapter", "proxies", "unavailable"]

HTTPS_PORT = 443

LONGEST_OUTAGE_PAUSE = 25
"""Seconds of a `Retry-After` on 5xx that are honoured at most, so that all works again within 30 s of its end."""


class Outage(RequestException):
    """Entra ID answered, but not as itself: too many requests, an error of its own, or no JSON."""

    def __init__(self, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TrustingAdapter(HTTPAdapter):
    """Connections that trust what one context trusts, and nothing that requests would add."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **_more: object) -> None:
        """Connect under the context."""
        self.poolmanager = PoolManager(connections, maxsize=maxsize, block=block, ssl_context=self._context)

    def proxy_manager_for(self, proxy: str, **_more: object) -> ProxyManager:
        """Connect under the context through a tunnel as well."""
        manager: ProxyManager = super().proxy_manager_for(proxy, ssl_context=self._context)
        return manager

    def close(self) -> None:
        """Close the idle connections now; urllib3 would leave that to the garbage collector."""
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118  iterating over the container itself is not allowed
                manager.pools[key].close()
        super().close()

    def cert_verify(self, conn: object, url: str, verify: object, cert: object) -> None:
        """Leave the context alone: requests would load its own bundle into it at every connection."""


class EntraHttp:
    """The HTTP client that MSAL is given; used from threads, one request at a time."""

    def __init__(
        self, ca_bundle: str, connect: float, read: float, check: Callable[[], None] = lambda: None
    ) -> None:
        """Limits are seconds for a connection and a silence. ConfigError where the bundle cannot be read.

        `check` is called before each question for a token and may raise.
        """
        self._check = check
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.adapters.clear()  # What is left is https alone, wherever Entra's metadata points.
        self._session.mount("https://", TrustingAdapter(trust(ca_bundle, os.environ)))
        self._limits = (connect, read)

    def get(self, url: str, **options: object) -> requests.Response:
        """Ask for metadata. Raises RequestException."""
        return self._send("GET", url, options)

    def post(self, url: str, **options: object) -> requests.Response:
        """Ask for a token or a code. Raises RequestException."""
        self._check()
        return self._send("POST", url, options)

    def close(self) -> None:
        """Close the idle connections."""
        self._session.close()

    def _send(self, method: str, url: str, options: Mapping[str, object]) -> requests.Response:
        request = requests.Request(
            method,
            url,
            headers=_texts(options.get("headers")),
            params=_texts(options.get("params")),
            data=_texts(options.get("data")),
        )
        response = self._session.send(
            self._session.prepare_request(request),
            timeout=self._limits,
            allow_redirects=False,
            proxies=proxies(url),
        )
        _check(response, is_metadata=method == "GET")
        return response


def proxies(url: str) -> dict[str, str]:
    """The proxy for an https URL, by HTTPS_PROXY and NO_PROXY or the system's settings; none for loopback."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    # requests reads fewer forms of NO_PROXY than are read for the server.
    if is_loopback(host) or is_excluded(host, parts.port or HTTPS_PORT, excluded_hosts(os.environ)):
        return {}
    return dict(get_environ_proxies(url))


def _texts(value: object) -> dict[str, str]:
    """What MSAL passes as headers, parameters or form; None and empty mean none."""
    return {str(name): str(text) for name, text in value.items()} if isinstance(value, Mapping) else {}


def _check(response: requests.Response, *, is_metadata: bool) -> None:
    """Raise Outage for what is not a working Entra ID; a tenant without metadata is MSAL's matter."""
    status = response.status_code
    if status == 429:
        raise Outage("it answers 429, too many requests", _retry_after(response))
    if status >= 500:
        pause = _retry_after(response)
        raise Outage(f"it answers {status}", None if pause is None else min(pause, LONGEST_OUTAGE_PAUSE))
    if is_metadata and status >= 400:
        return
    try:
        is_object = isinstance(response.json(), dict)
    except requests.exceptions.JSONDecodeError:
        is_object = False
    if not is_object or 300 <= status < 400:
        raise Outage(f"it answers {status} with something that is not JSON of Entra ID")


def _retry_after(response: requests.Response) -> int | None:
    """Seconds of the field; Entra ID sends a number and never a date."""
    text = response.headers.get("Retry-After", "")
    return int(text) if text.isascii() and text.isdigit() else None


# The first row that fits counts: requests' exceptions are subclasses of one another.
_FAILURES: tuple[tuple[type[RequestException], str, str], ...] = (
    (
        requests.exceptions.SSLError,
        "has a certificate that is not trusted here",
        UNTRUSTED,
    ),
    (
        requests.exceptions.ProxyError,
        "cannot be reached through the proxy that HTTPS_PROXY or the system names",
        "Check HTTPS_PROXY and NO_PROXY.",
    ),
    (requests.exceptions.ConnectTimeout, "cannot be reached in time", "Check the network and HTTPS_PROXY."),
    (requests.exceptions.Timeout, "does not answer in time", "Try again."),
    (requests.exceptions.InvalidSchema, "sends us to an address that is not https", "Check the authority."),
    (
        requests.exceptions.ConnectionError,
        "cannot be reached",
        "Check the network, the name of the authority, and HTTPS_PROXY.",
    ),
)


def unavailable(error: RequestException, host: str) -> IdentityProviderUnavailable:
    """The error for a request to Entra ID that failed; the text of requests is internals and left out."""
    if isinstance(error, Outage):
        return IdentityProviderUnavailable(
            f"Entra ID at {host} is out of order: {error}", hint="Try again.", retry_after=error.retry_after
        )
    words, fix = next(
        ((words, fix) for kind, words, fix in _FAILURES if isinstance(error, kind)),
        ("gave an answer that cannot be read", "Try again."),
    )
    said, unfit = "", _certificate_error(error)
    if unfit is not None:
        said, fix = f" ({unfit.verify_message})", hint(unfit)
    return IdentityProviderUnavailable(f"Entra ID at {host} {words}{said}", hint=fix)


def _certificate_error(error: object) -> ssl.SSLCertVerificationError | None:
    """What the ssl module has said, under the exceptions of urllib3 and requests."""
    while isinstance(error, Exception) and not isinstance(error, ssl.SSLCertVerificationError):
        inner = getattr(error, "reason", None)
        error = inner if isinstance(inner, Exception) else next(iter(error.args), None)
    return error if isinstance(error, ssl.SSLCertVerificationError) else None
