from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import requests
from aiohttp import web

from proxy.auth.http import EntraHttp, Outage, RequestException, proxies, unavailable
from proxy.auth.threads import in_thread
from proxy.sandbox.certificates import CertificateAuthority

from ..fakes.byte_server import Peer, byte_server


class RecordingServer:
    """Answers everything the same over TLS, and remembers what came."""

    def __init__(self) -> None:
        self.response: Callable[[], web.Response] = lambda: web.json_response({})
        self.requests: list[tuple[str, str, dict[str, str], str]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.requests.append((request.method, request.path, dict(request.headers), await request.text()))
        return self.response()


@pytest.fixture
async def server(certificates: CertificateAuthority) -> AsyncIterator[RecordingServer]:
    server = RecordingServer()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(application, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=certificates.server_context()).start()
    server.url = f"https://localhost:{runner.addresses[0][1]}"
    yield server
    while runner.server is not None and runner.server.connections:  # noqa: ASYNC110  nobody tells
        await asyncio.sleep(0.001)
    await runner.cleanup()


@pytest.fixture
async def http(server: RecordingServer, ca_bundle: str) -> AsyncIterator[EntraHttp]:
    http = EntraHttp(ca_bundle, 5, 5)
    yield http
    http.close()


async def post(http: EntraHttp, url: str, **options: object) -> requests.Response:
    return await in_thread(lambda: http.post(url, **options))


async def get(http: EntraHttp, url: str, **options: object) -> requests.Response:
    return await in_thread(lambda: http.get(url, **options))


async def test_form_headers_and_parameters_arrive(http: EntraHttp, server: RecordingServer) -> None:
    await post(http, server.url + "/t", data={"a": "1 2"}, headers={"X-Y": "z"}, params=None)
    await get(http, server.url + "/d", params={"q": "1"})
    (_, _, fields, body), (method, _, _, _) = server.requests

    assert (body, fields["X-Y"], method) == ("a=1+2", "z", "GET")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_not_followed(http: EntraHttp, server: RecordingServer, status: int) -> None:
    server.response = lambda: web.Response(status=status, headers={"Location": server.url + "/elsewhere"})

    with pytest.raises(Outage):
        await post(http, server.url + "/token", data={"client_secret": "s"})
    assert len(server.requests) == 1


async def test_password_file_of_the_user_is_not_sent(
    http: EntraHttp, server: RecordingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login ada password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    await get(http, server.url)

    assert "Authorization" not in server.requests[0][2]


@pytest.mark.parametrize("url", ["http://localhost:1/token", "ftp://localhost/", "localhost"])
async def test_what_is_not_https_is_refused(http: EntraHttp, url: str) -> None:
    with pytest.raises(RequestException):
        await post(http, url, data={"client_secret": "s"})


@pytest.mark.parametrize(
    ("status", "field", "pause"),
    [
        (429, "7", 7),
        (429, "400", 400),
        (429, "", None),
        (429, "soon", None),
        (429, "-1", None),
        (429, "²", None),
        (503, "7", 7),
        (503, "3600", 25),
        (500, "", None),
    ],
)
async def test_retry_after_is_read(
    http: EntraHttp, server: RecordingServer, status: int, field: str, pause: int | None
) -> None:
    fields = {"Retry-After": field} if field else {}
    server.response = lambda: web.json_response({"error": "x"}, status=status, headers=fields)
    with pytest.raises(Outage, match=str(status)) as raised:
        await post(http, server.url)

    assert raised.value.retry_after == pause


@pytest.mark.parametrize("status", [400, 401])
async def test_refusal_is_an_answer(http: EntraHttp, server: RecordingServer, status: int) -> None:
    server.response = lambda: web.json_response({"error": "invalid_grant"}, status=status)

    assert (await post(http, server.url)).status_code == status


async def test_metadata_that_is_not_there_is_an_answer(http: EntraHttp, server: RecordingServer) -> None:
    server.response = lambda: web.Response(status=404, text="nothing here")

    assert (await get(http, server.url)).status_code == 404


# Proxies


@pytest.mark.parametrize(
    ("url", "no_proxy", "expected"),
    [
        ("https://login.microsoftonline.com/t", "", "http://proxy.corp:3128"),
        ("https://login.microsoftonline.com/t", "microsoftonline.com", None),
        ("https://login.microsoftonline.com/t", ".microsoftonline.com", None),
        ("https://login.microsoftonline.com/t", "*.microsoftonline.com", None),
        ("https://login.microsoftonline.com/t", "a.example login.microsoftonline.com", None),
        ("https://login.microsoftonline.com/t", "Login.MicrosoftOnline.com:443", None),
        ("https://login.microsoftonline.com/t", "login.microsoftonline.com:8443", "http://proxy.corp:3128"),
        ("https://login.microsoftonline.com/t", "evilmicrosoftonline.com", "http://proxy.corp:3128"),
        ("https://login.microsoftonline.com/t", "online.com", "http://proxy.corp:3128"),
        ("https://login.microsoftonline.com/t", "*", None),
        ("https://localhost:8443/t", "", None),
        ("https://127.0.0.1:8443/t", "", None),
        ("https://[::1]:8443/t", "", None),
    ],
)
def test_corporate_proxy_by_url(
    monkeypatch: pytest.MonkeyPatch, url: str, no_proxy: str, expected: str | None
) -> None:
    for name in ("ALL_PROXY", "all_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.corp:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)

    assert proxies(url).get("https") == expected


async def test_credentials_of_the_corporate_proxy_reach_it_alone(
    http: EntraHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads: list[bytes] = []

    async def refusing(peer: Peer) -> None:
        heads.append(await peer.head())
        await peer.send(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

    for name in ("ALL_PROXY", "all_proxy", "https_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with byte_server(refusing) as corporate:
        monkeypatch.setenv("HTTPS_PROXY", f"http://us%40er:p%3Aw@127.0.0.1:{corporate.port}")
        with pytest.raises(RequestException) as raised:
            await post(http, "https://login.microsoftonline.com/t", data={"client_secret": "s"})
        told = unavailable(raised.value, "login.microsoftonline.com")

    assert heads[0].startswith(b"CONNECT login.microsoftonline.com:443 ")
    assert b"\r\nproxy-authorization: basic " + b64encode(b"us@er:p:w").lower() in heads[0].lower()
    assert "through the proxy" in told.message
    assert "p:w" not in told.message + told.hint


# Failures in words


@pytest.mark.parametrize(
    ("error", "words", "hint"),
    [
        (requests.exceptions.SSLError("secret"), "not trusted here", "--ca-bundle"),
        (requests.exceptions.ProxyError("secret"), "through the proxy", "HTTPS_PROXY"),
        (requests.exceptions.ConnectTimeout("secret"), "cannot be reached in time", "network"),
        (requests.exceptions.ReadTimeout("secret"), "does not answer in time", "again"),
        (requests.exceptions.ConnectionError("secret"), "cannot be reached", "network"),
        (requests.exceptions.InvalidSchema("secret"), "not https", "authority"),
        (requests.exceptions.ChunkedEncodingError("secret"), "cannot be read", "again"),
        (Outage("it answers 503", 9), "out of order: it answers 503", "again"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_failure_is_told_in_words(error: RequestException, words: str, hint: str) -> None:
    told = unavailable(error, "login.example")

    assert words in told.message
    assert "login.example" in told.message
    assert hint in told.hint
    assert "secret" not in told.message + told.hint


def test_pause_of_an_outage_is_kept() -> None:
    assert unavailable(Outage("x", 9), "h").retry_after == 9
