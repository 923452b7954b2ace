"""Threat model 3.1: what a web page in the user's browser can do to the port, on raw sockets."""

from __future__ import annotations

import pytest

from .ground import (
    SEARCH,
    assert_carried,
    assert_is_closed_to_browsers,
    assert_refused,
    get,
    ground,
    head,
    post,
)

HOSTS = [
    # B1: a name of the attacker's that resolves to this machine
    (b"Host: evil.example", 421),
    (b"Host: evil.example:%p", 421),
    (b"Host: localhost.evil.example:%p", 421),
    (b"Host: 127.0.0.1.evil.example:%p", 421),
    (b"Host: %h.evil.example", 421),
    (b"Host: xlocalhost:%p", 421),
    (b"Host: localhost.:%p", 421),
    (b"Host: %h@evil.example", 421),
    (b"Host: evil.example@%h", 421),
    (b"Host: evil.example\r\nX-Forwarded-Host: %h", 421),
    (b"Host: evil.example\r\nForwarded: host=%h", 421),
    (b"Host: %h,evil.example", 421),
    (b"Host: %h evil.example", 421),
    (b"Host: http://%h", 421),
    (b"Host: %h/", 421),
    (b"Host: localhost", 421),
    (b"Host: 127.0.0.1:1", 421),
    (b"Host: 127.0.0.1:0%p", 421),
    (b"Host: %u", 421),
    (b"", 400),
    (b"Host:", 400),
    (b"Host: %h\r\nHost: %h", 400),
    (b"Host: %h\r\nHost: evil.example", 400),
    (b"Host: evil.example\r\nhOST: %h", 400),
    (b"Host : %h", 400),
    (b"Host\t: %h", 400),
    (b" Host: %h", 400),
    (b"Host: %h\r\n evil.example", 400),
    (b"X-Host: %h", 400),
    # B2: other addresses of this machine, and other spellings of them
    (b"Host: 0.0.0.0:%p", 421),
    (b"Host: 0:%p", 421),
    (b"Host: 192.168.1.10:%p", 421),
    (b"Host: 127.0.0.2:%p", 421),
    (b"Host: 127.1:%p", 421),
    (b"Host: 2130706433:%p", 421),
    (b"Host: 0x7f000001:%p", 421),
    (b"Host: 0177.0.0.1:%p", 421),
    (b"Host: [::]:%p", 421),
    (b"Host: [::ffff:127.0.0.1]:%p", 421),
    (b"Host: [::1%25lo]:%p", 421),
    (b"Host: host.docker.internal:%p", 421),
]


@pytest.mark.parametrize(("line", "status"), HOSTS, ids=repr)
async def test_request_that_calls_the_proxy_by_another_name_reaches_no_one(line: bytes, status: int) -> None:
    await assert_refused(get(host=line), status)


TARGETS = [
    # B3: the absolute form overrides Host (RFC 9112 section 3.2.2)
    b"http://evil.example/Patient",
    b"http://%h/Patient",
    b"https://%h/Patient",
    b"http://%u/fhir/Patient",
    b"HTTP://%h/Patient",
    b"ftp://evil.example/",
    b"evil.example:80",
    b"*",
    b"?name=%x",
    b"Patient",
]


@pytest.mark.parametrize("target", TARGETS, ids=repr)
async def test_target_that_is_no_path_reaches_no_one(target: bytes) -> None:
    await assert_refused(get(target), 400)


ORIGINS = [
    # B4: requests that need no preflight
    b"https://evil.example",
    b"null",
    b"",
    b"file://",
    b"chrome-extension://abcdefgh",
    b"http://%h https://evil.example",
    b"http://%h, http://evil.example",
    b"http://%h\r\nOrigin: https://evil.example",
    # B6: look-alikes
    b"http://%h.evil.example",
    b"http://evil.example/%h",
    b"http://evil.example#http://%h",
    b"http://user@%h",
    b"https://%h",
    b"http://%h/",
    b"HTTP://%h",
    b"http://localhost",
    b"http://127.0.0.1",
    b"http://127.0.0.2:%p",
    b"http://2130706433:%p",
    b"http://192.168.1.10:%p",
    # B7: another port of this machine
    b"http://localhost:3000",
    b"http://127.0.0.1:8888",
    b"http://%u",
]


@pytest.mark.parametrize("origin", ORIGINS, ids=repr)
async def test_page_of_another_origin_reaches_no_one(origin: bytes) -> None:
    await assert_refused(get(b"/Patient?name=%x", b"Origin: " + origin), 403)
    await assert_refused(post(b"Content-Type: text/plain", b"Origin: " + origin), 403)


SIMPLE = [
    (b"Content-Type: text/plain", b"Origin: https://evil.example"),
    (b"Content-Type: application/x-www-form-urlencoded", b"Origin: null"),
    (b"Content-Type: multipart/form-data; boundary=x", b"Origin: http://localhost:3000"),
    (b"Content-Type: text/plain", b"Sec-Fetch-Site: cross-site", b"Sec-Fetch-Mode: no-cors"),
]


@pytest.mark.parametrize("lines", SIMPLE, ids=repr)
@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"PATCH"])
async def test_write_of_a_page_reaches_no_one(method: bytes, lines: tuple[bytes, ...]) -> None:
    await assert_refused(head(method, b"/Patient/1", *lines, b"Content-Length: 14") + b"%x", 403)


SITES = [
    # B5: <img> and <script> send no Origin
    b"Sec-Fetch-Site: cross-site",
    b"Sec-Fetch-Site: same-site",
    b"sec-fetch-site: cross-site",
    b"Sec-Fetch-Site: Cross-Site",
    b"Sec-Fetch-Site:",
    b"Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site",
    b"Sec-Fetch-Site: none, cross-site",
]


@pytest.mark.parametrize("line", SITES, ids=repr)
@pytest.mark.parametrize("mode", [b"no-cors", b"navigate"])
async def test_load_from_another_site_reaches_no_one(line: bytes, mode: bytes) -> None:
    await assert_refused(get(b"/Patient?name=%x", line, b"Sec-Fetch-Mode: " + mode), 403)


async def test_preflight_is_answered_here_and_allows_nothing() -> None:
    lines = (b"Origin: https://evil.example", b"Access-Control-Request-Method: PUT")
    await assert_refused(head(b"OPTIONS", b"/Patient/1", *lines), 403)
    private = (*lines, b"Access-Control-Request-Private-Network: true")
    await assert_refused(head(b"OPTIONS", b"/Patient/1", *private), 403)


OPENING = [
    # B8: the server's own permission for pages of other origins
    b"Access-Control-Allow-Origin: *",
    b"Access-Control-Allow-Origin: https://evil.example",
    b"access-control-allow-origin: null",
    b"Access-Control-Allow-Credentials: true",
    b"Access-Control-Allow-Private-Network: true",
    b"Access-Control-Expose-Headers: *",
    b"Timing-Allow-Origin: *",
    b"Server-Timing: db;dur=1",
    b"Cross-Origin-Resource-Policy: cross-origin",
    b"cross-origin-resource-policy: cross-origin",
    # B9: what undoes our own words about a document
    b"Content-Security-Policy: default-src *",
    b"X-Content-Type-Options: sniff",
    b"Referrer-Policy: unsafe-url",
    b"X-XSS-Protection: 0",
    b"Service-Worker-Allowed: /",
    b"Refresh: 0; url=https://evil.example/",
    b"SourceMap: https://evil.example/",
    b'Speculation-Rules: "https://evil.example/"',
    # 3.5: what a browser keeps for the whole of localhost, or reports elsewhere
    b"Set-Cookie: session=evil; Path=/",
    b"set-cookie2: session=evil",
    b"Strict-Transport-Security: max-age=31536000; includeSubDomains",
    b'Clear-Site-Data: "*"',
    b'Alt-Svc: h2="evil.example:443"',
    b'NEL: {"report_to":"x"}',
    b'Report-To: {"endpoints":[{"url":"https://evil.example/"}]}',
    b'Reporting-Endpoints: x="https://evil.example/"',
    b"Content-Security-Policy-Report-Only: report-uri https://evil.example/",
    b"Public-Key-Pins: x",
    b"Accept-CH: DPR",
    # sign-ins of the server's own: a password prompt, the relay of Windows credentials
    b"WWW-Authenticate: Negotiate",
    b"WWW-Authenticate: NTLM",
    b'WWW-Authenticate: Basic realm="x"',
    b'Proxy-Authenticate: Basic realm="x"',
    b"Authentication-Info: x",
    b"Proxy-Authorization: x",
    # hop by hop, and a mark that is the proxy's alone
    b"Proxy-Status: fhir-auth-proxy; error=x",
    b"Keep-Alive: timeout=99999",
    b"Upgrade: h2c",
    b"Trailer: X-Evil",
    b"Connection: X-Evil\r\nX-Evil: 1",
]


@pytest.mark.parametrize("line", OPENING, ids=repr)
@pytest.mark.parametrize("status", [b"200", b"404", b"503"])
async def test_field_of_the_server_that_browsers_obey_stays_here(line: bytes, status: bytes) -> None:
    reply = (
        b"HTTP/1.1 "
        + status
        + b" Said\r\n"
        + line
        + b"\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nok"
    )
    async with ground(reply) as here:
        (answer,) = await here.ask(get())

        assert (answer.status, answer.body) == (int(status), b"ok")
        assert_is_closed_to_browsers(answer)
        for sent in line.split(b"\r\n"):
            name, value = sent.split(b": ", 1)
            assert value not in answer.fields.all(name.lower())
        assert await here.is_healthy()


@pytest.mark.parametrize(
    "media_type", [b"text/html", b"image/svg+xml", b"application/xhtml+xml", b"text/xml"]
)
async def test_document_in_a_binary_gets_no_origin(media_type: bytes) -> None:
    page = b"<script>fetch('/Patient')</script>"
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        media_type,
        len(page),
        page,
    )
    async with ground(reply) as here:
        (answer,) = await here.ask(get(b"/Binary/1", b"Sec-Fetch-Site: none", b"Sec-Fetch-Mode: navigate"))

        assert_is_closed_to_browsers(answer)
        assert answer.body == page
        assert await here.is_healthy()


SOCKETS = [
    # B10
    (b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
    (b"Upgrade: WebSocket",),
    (b"Upgrade: h2c, websocket",),
    (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",),
]


@pytest.mark.parametrize("lines", SOCKETS, ids=repr)
async def test_web_socket_reaches_no_one(lines: tuple[bytes, ...]) -> None:
    request = b"\r\n".join(
        [b"GET /Patient HTTP/1.1", b"Host: %h", b"Connection: Upgrade, close", *lines, b"", b""]
    )
    await assert_refused(request, 400)


async def test_upgrade_to_http_2_is_ignored() -> None:
    # llhttp ends a request that wants an upgrade at its head, so what follows must not be read as another one.
    lines = b"Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"
    async with ground() as here:
        answers = await here.ask(b"GET /Patient HTTP/1.1\r\nHost: %h\r\n" + lines + b"\r\n\r\n")

        assert [answer.status for answer in answers] in ([200], [400])
        assert here.upstream.lines in ([b"GET /fhir/Patient"], [])
        assert await here.is_healthy()


# Controls: a proxy that refuses everything fails these ---------------------------------------------------------------


PASSING = [
    get(host=b"Host: localhost:%p"),
    get(host=b"Host: LOCALHOST:%p"),
    get(host=b"Host: 127.0.0.1:%p"),
    get(host=b"Host: [::1]:%p"),
    get(host=b"host:%h"),
    get(b"/Patient?name=%x", b"Origin: http://%h"),
    get(b"/Patient?name=%x", b"Origin: http://localhost:%p", b"Sec-Fetch-Site: same-origin"),
    get(b"/Patient?name=%x", b"Sec-Fetch-Site: none", b"Sec-Fetch-Mode: navigate"),
    get(b"/Patient?name=%x", b"Sec-Fetch-Site: same-origin", b"Sec-Fetch-Mode: cors"),
    get(b"/fhir/Patient?name=%x"),
]


@pytest.mark.parametrize("request_bytes", PASSING, ids=repr)
async def test_tool_and_own_page_are_served(request_bytes: bytes) -> None:
    await assert_carried(request_bytes, SEARCH)


async def test_configured_name_is_served() -> None:
    await assert_carried(get(host=b"Host: fhir-proxy:%p"), SEARCH, allowed_hosts=["fhir-proxy"])
    await assert_refused(get(host=b"Host: fhir-proxy:%p"), 421)
