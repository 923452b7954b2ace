"""Threat model 3.3: what would send the token elsewhere, or let somebody else speak with it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from proxy.auth.cache import FAILURE_PAUSE

from ..fakes.byte_server import ByteServer, Peer, byte_server
from ..fakes.clock import FakeClock
from ..running import proxy_before, unattended
from . import messages
from .ground import (
    SEARCH,
    TOKEN,
    Ground,
    HostileServer,
    assert_carried,
    assert_is_closed_to_browsers,
    assert_is_ours,
    assert_refused,
    get,
    ground,
    head,
    post,
)


@asynccontextmanager
async def trap() -> AsyncIterator[ByteServer]:
    """A server to which nobody may ever connect."""

    async def script(peer: Peer) -> None:
        await peer.rest()

    async with byte_server(script) as fake:
        yield fake
        assert fake.accepted == 0, "somebody was led into the trap"


# X1, X2: redirects ---------------------------------------------------------------------------------------------------

PLACES = [
    b"http://127.0.0.1:%t/fhir/Patient",
    b"//127.0.0.1:%t/fhir/Patient",
    b"http://%u@127.0.0.1:%t/",
    b"http://user:secret@%u/fhir/Patient",
    b"https://%u/fhir/Patient",
    b"http://127.0.0.1:%t\\@%u/",
    b"/tenant-b/Patient",
    b"../tenant-b/Patient",
]


@pytest.mark.parametrize("place", PLACES, ids=repr)
@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
async def test_redirect_is_never_followed(status: int, place: bytes) -> None:
    async with trap() as away, ground() as here:
        location = here.filled(place.replace(b"%t", b"%d" % away.port))
        here.upstream.reply = b"HTTP/1.1 %d Go\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % (
            status,
            location,
        )
        (answer,) = await here.ask(get())

        assert answer.status == status
        assert here.upstream.lines == [SEARCH]
        assert_is_closed_to_browsers(answer)
        assert await here.is_healthy()


# X3, X4: targets that lead beside the base ---------------------------------------------------------------------------

TARGETS = [
    b"//evil.example/Patient",
    b"//127.0.0.1/Patient",
    b"/\\evil.example/Patient",
    b"\\\\evil.example/",
    b"@evil.example/",
    b":80@evil.example/",
    b".evil.example/",
    b"/..",
    b"/.",
    b"/../admin",
    b"/Patient/../../admin",
    b"/fhir/..",
    b"/fhir/../admin",
    b"/fhir/../fhir-admin/Patient",
    b"/./Patient",
    b"/Patient/./1",
    b"/%2e%2e/admin",
    b"/%2E%2E/admin",
    b"/.%2e/admin",
    b"/%2e./admin",
    b"/%252e%252e/admin",
    b"/..%2fadmin",
    b"/..%2Fadmin",
    b"/..%5cadmin",
    b"/..\\admin",
    b"/..;/admin",
    b"/..;x=1/admin",
    b"/.;/admin",
    b"/..%3b/admin",
    b"/;/admin",
    b"/%2e%2e;/admin",
    b"/..%20/admin",
    b"/%20../admin",
    b"/..?x",
    b"/..%3f",
    b"/..%23",
    b"/..#/admin",
    b"/Patient//1",
    b"/fhir//admin",
    b"/Patient/",
    b"/%00",
    b"/Patient%00.json",
    b"/Patient%0d%0aX-Evil:1",
    b"/Patient%0a",
    b"/Patient%09",
    b"/Patient%7f",
    b"/%c0%ae%c0%ae/admin",
    b"/%ef%bc%8e%ef%bc%8e/admin",
    b"/%U002e%U002e/admin",
    b"/%zz",
    b"/%",
    b"/Patient#fragment",
    b"/Patient?name=%x#fragment",
    b"/Pati\xc3\xabnt",
    b"/Patient?name=M\xfcller",
    b"/\xff\xfe",
]
ALLOWED = {b"/Patient/"}
"""A slash at the end stays in the base, whoever reads it."""


@pytest.mark.parametrize("target", TARGETS, ids=repr)
async def test_target_that_is_not_plain_reaches_no_one_but_in_the_base(target: bytes) -> None:
    if target in ALLOWED:
        await assert_carried(get(target), b"GET /fhir" + target)
    else:
        await assert_refused(get(target), 400)
        await assert_refused(head(b"DELETE", target), 400)


async def test_sibling_of_the_base_is_a_path_within_it() -> None:
    await assert_carried(get(b"/fhir-admin/Patient"), b"GET /fhir/fhir-admin/Patient")
    await assert_carried(get(b"/fhirX"), b"GET /fhir/fhirX")
    await assert_carried(get(b"/FHIR/Patient"), b"GET /fhir/FHIR/Patient")


# X5: methods ---------------------------------------------------------------------------------------------------------

METHODS = [
    (b"TRACE", b"/Patient"),
    (b"TRACK", b"/Patient"),
    (b"CONNECT", b"evil.example:443"),
    (b"CONNECT", b"%u"),
    (b"CONNECT", b"/Patient"),
    (b"OPTIONS", b"*"),
    (b"OPTIONS", b"/Patient"),
    (b"PRI", b"*"),
    (b"PROPFIND", b"/"),
    (b"COPY", b"/Patient/1"),
    (b"PURGE", b"/Patient/1"),
    (b"SUBSCRIBE", b"/Patient"),
    (b"QUERY", b"/Patient"),
    (b"DEBUG", b"/"),
    (b"get", b"/Patient"),
    (b"Get", b"/Patient"),
    (b"GETT", b"/Patient"),
    (b"G", b"/Patient"),
    (b"GET\x00", b"/Patient"),
    (b"\x16\x03\x01", b"/Patient"),
    (b"GET HEAD", b"/Patient"),
]


@pytest.mark.parametrize(("method", "target"), METHODS, ids=repr)
async def test_method_that_fhir_does_not_use_reaches_no_one(method: bytes, target: bytes) -> None:
    await assert_refused(head(method, target), 400, 405)


# X6 to X9: fields ----------------------------------------------------------------------------------------------------

DROPPED = [
    # X6
    b"Authorization: Bearer evil",
    b"authorization: Basic evil",
    b"AUTHORIZATION: Negotiate evil",
    b"Authorization: Bearer evil\r\nAuthorization: Basic evil",
    b"Authorization:Bearer evil",
    b"Proxy-Authorization: Basic evil",
    b"Authorization: evil\r\nConnection: Authorization",
    # X7
    b"X-Evil: evil\r\nConnection: X-Evil",
    b"Connection: Authorization, evil",
    b"Connection: authorization\r\nConnection: AUTHORIZATION",
    b"Connection: Host",
    b"Connection: Content-Length, Transfer-Encoding, Authorization",
    b"Connection: keep-alive, close, , ,evil",
    b"TE: trailers, evil",
    b"Trailer: Authorization, evil",
    b"Keep-Alive: evil",
    # X8
    b"X-Forwarded-For: evil",
    b"X-Forwarded-Host: evil.example",
    b"X-Forwarded-Proto: evil",
    b"X-Forwarded-Prefix: /evil",
    b"X-Forwarded-Uri: /evil",
    b"X-Forwarded: evil",
    b"Forwarded: host=evil.example",
    b"X-Original-URL: /evil",
    b"X-Rewrite-URL: /evil",
    b"X-Original-Host: evil",
    b"X-Host: evil",
    b"X-HTTP-Host-Override: evil",
    b"X-HTTP-Method-Override: evil",
    b"X-HTTP-Method: evil",
    b"X-Method-Override: evil",
    b"X-MS-CLIENT-PRINCIPAL: evil",
    b"X-MS-CLIENT-PRINCIPAL-NAME: evil",
    b"X-MS-TOKEN-AAD-ACCESS-TOKEN: evil",
    b"X-ARR-ClientCert: evil",
    b"X-ARR-LOG-ID: evil",
    b"X-Azure-FDID: evil",
    b"X-Real-IP: evil",
    b"True-Client-IP: evil",
    b"Client-IP: evil",
    b"X-Remote-User: evil",
    b"Remote-User: evil",
    b"X-Auth-Request-User: evil",
    b"X-WebAuth-User: evil",
    b"Impersonate-User: evil",
    b"X-Goog-IAP-JWT-Assertion: evil",
    b"Client-Cert: evil",
    b"X-SSL-Client-Verify: evil",
    b"X_Forwarded_For: evil",
    b"X_Auth_User: evil",
    b"X_HTTP_Method_Override: evil",
    b"Content_Length: evil",
    b"Authorization_: evil",
    b"X.Forwarded.For: evil",
    b"X~Evil: evil",
    b"X!Evil: evil",
    b"X-Proxy-Key: evil",
    # X9, and what a browser adds
    b"Cookie: jupyter=evil; session=evil",
    b"cookie: a=evil\r\nCookie: b=evil",
    b"Cookie2: evil",
    b"Referer: http://localhost:8888/evil",
    b"Sec-CH-UA: evil",
    b"Sec-Fetch-Dest: evil",
    b"Upgrade-Insecure-Requests: 1\r\nSec-Purpose: evil",
    b"Access-Control-Request-Method: evil",
]


@pytest.mark.parametrize("lines", DROPPED, ids=repr)
async def test_field_that_a_server_would_trust_stays_here(lines: bytes) -> None:
    async with ground() as here:
        (answer,) = await here.ask(get(b"/Patient?name=%x", lines))

        assert answer.status == 200
        assert here.upstream.lines == [SEARCH]
        assert not any(b"evil" in value for _, value in here.upstream.requests[0].fields.lines)
        assert here.upstream.requests[0].fields.all(b"host") == [here.filled(b"%u")]
        assert await here.is_healthy()


# X10: nothing tells the token ----------------------------------------------------------------------------------------

PLACES_OF_TOKENS = [
    b"/token",
    b"/oauth2/token",
    b"/debug/vars",
    b"/debug/pprof",
    b"/metrics",
    b"/status",
    b"/health",
    b"/.env",
    b"/config",
    b"/metadata/identity/oauth2/token?resource=x",
    b"/msi/token",
    b"/.well-known/openid-configuration",
]


@pytest.mark.parametrize("target", PLACES_OF_TOKENS, ids=repr)
async def test_no_place_of_the_proxy_tells_the_token(target: bytes) -> None:
    await assert_carried(get(target), b"GET /fhir" + target)


# X11, X12: what a challenge asks for ---------------------------------------------------------------------------------

CHALLENGES = [
    b'Bearer authorization_uri="http://127.0.0.1:%t/common/oauth2/authorize"',
    b'Bearer authorization_uri="https://127.0.0.1:%t/common"',
    b'Bearer authorization_uri="https://login.microsoftonline.com@127.0.0.1:%t/common"',
    b'Bearer authorization_uri="https://login.microsoftonline.com.evil.example:%t/common"',
    b'Bearer authorization_uri="https://127.0.0.1:%t\\@login.microsoftonline.com/common"',
    b'Bearer authorization="https://127.0.0.1:%t/t", resource_id="https://graph.microsoft.com"',
    b'Bearer authorization_uri="//127.0.0.1:%t/common"',
    b'Bearer authorization_uri="file:///etc/passwd"',
    b'Bearer realm="x", resource="https://management.azure.com/", as_uri="http://127.0.0.1:%t/"',
    b'Bearer error="invalid_token", error_uri="http://127.0.0.1:%t/"',
]


@pytest.mark.parametrize("challenge", CHALLENGES, ids=repr)
@pytest.mark.parametrize("auth", ["auto", "token"])
async def test_challenge_leads_nowhere(challenge: bytes, auth: str) -> None:
    async with trap() as away:
        seen: list[messages.Request] = []

        async def script(peer: Peer) -> None:
            while True:
                seen.append(messages.request(await peer.head()))
                value = challenge.replace(b"%t", b"%d" % away.port)
                await peer.send(
                    b"HTTP/1.1 401 No\r\nWWW-Authenticate: %b\r\nContent-Length: 0\r\n\r\n" % value
                )

        settings: dict[str, object] = {"auth": auth, **({"token": TOKEN} if auth == "token" else {})}
        async with (
            byte_server(script) as fake,
            proxy_before(f"http://127.0.0.1:{fake.port}", **settings) as proxy,
        ):
            port = int(proxy.url.rpartition(":")[2])
            (answer,) = await Ground(proxy, HostileServer(), fake, port).ask(get())

        assert answer.status in {502, 503}
        assert_is_ours(answer)
        assert answer.field("WWW-Authenticate") is None
        sent = [value for request in seen for value in request.fields.all(b"authorization")]
        assert set(sent) <= {b"Bearer " + TOKEN.encode()}
        assert (auth == "auto") == (sent == [])


REFUSED_TOKENS = [
    b"WWW-Authenticate: Negotiate",
    b"WWW-Authenticate: NTLM",
    b'WWW-Authenticate: Basic realm="x"',
    b"WWW-Authenticate: Bearer\r\nWWW-Authenticate: Negotiate",
    b"Proxy-Authenticate: Basic",
    b"X: y",
    # A server that quotes what it got: the token goes neither to the tool nor into the log.
    b'WWW-Authenticate: Bearer error="invalid_token", error_description="not valid: ' + TOKEN.encode() + b'"',
    b'WWW-Authenticate: Bearer error="' + TOKEN.encode() + b'"',
    b'WWW-Authenticate: Bearer realm="' + TOKEN.encode() + b'", resource_id="' + TOKEN.encode() + b'"',
]


@pytest.mark.parametrize("line", REFUSED_TOKENS, ids=repr)
async def test_401_never_becomes_a_password_prompt(line: bytes) -> None:
    clock = FakeClock()
    reply = b"HTTP/1.1 401 No\r\n" + line + b"\r\nContent-Length: 0\r\n\r\n"
    async with ground(reply, replace(unattended(), clock=clock)) as here:
        (answer,) = await here.ask(get())

        assert (answer.status, answer.field("WWW-Authenticate")) == (502, None)
        assert set(here.upstream.lines) == {SEARCH}
        clock.advance(FAILURE_PAUSE)
        assert await here.is_healthy()


# X13: TLS and the environment ----------------------------------------------------------------------------------------


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


WRONG_CERTIFICATES = ["untrusted", "other-name", "old-protocol"]


@pytest.mark.parametrize("what", WRONG_CERTIFICATES)
async def test_server_that_cannot_prove_its_name_gets_not_one_byte(
    what: str, authority: trustme.CA, tmp_path: Path
) -> None:
    received: list[bytes] = []

    async def script(peer: Peer) -> None:
        received.append(await peer.rest())

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("evil.example" if what == "other-name" else "127.0.0.1").configure_cert(context)
    if what == "old-protocol":
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLS"):
            context.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.warns(DeprecationWarning, match="TLS"):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
    trusted = tmp_path / "ca.pem"
    (trustme.CA() if what == "untrusted" else authority).cert_pem.write_to_path(str(trusted))
    settings = {"auth": "token", "token": TOKEN, "ca_bundle": str(trusted)}
    async with (
        byte_server(script, context) as fake,
        proxy_before(f"https://127.0.0.1:{fake.port}", **settings) as proxy,
    ):
        port = int(proxy.url.rpartition(":")[2])
        (answer,) = await Ground(proxy, HostileServer(), fake, port).ask(get())

        assert answer.status == 502
        assert_is_ours(answer)

    assert b"".join(received) == b""


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"])
async def test_proxy_of_the_environment_never_sees_plain_http(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trap() as away:
        monkeypatch.setenv(variable, f"http://127.0.0.1:{away.port}")
        await assert_carried(get(), SEARCH)


async def test_netrc_is_never_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "netrc"
    file.write_text("machine 127.0.0.1 login evil password evil\n")
    monkeypatch.setenv("NETRC", str(file))
    monkeypatch.setenv("HOME", str(tmp_path))
    await assert_carried(get(), SEARCH)


# Controls: what FHIR needs passes byte for byte ----------------------------------------------------------------------

FHIR = [
    b"/Patient?identifier=https://x.example/ids%7C1|2",
    b"/Patient?name=a+b%20c,d&x=%2F&y=%c3%A4&z=%25&w=%0d%0a&v=%00",
    b"/Patient?a=/../..&b=//evil.example&c=\\x&d=..%2f&e=@x;y",
    b"/Patient?url=http://evil.example/",
    b"/Patient/$everything?_since=2020-01-01T00:00:00.000+01:00",
    b"/Patient/%24everything",
    b"/ValueSet/a%7C1.0",
    b"/Observation?code=http%3A%2F%2Floinc.org%7C8867-4&_include=Observation:subject&_sort=-date",
    b"/Patient/1.2.3-A/_history/2",
    b"/_history?_count=1",
    b"/Patient/a%20b",
    b"/Patient/..a",
    b"/Patient/a..b",
    b"/Patient/...",
    b"/Group/1/$export?_type=Patient,Observation",
    b"/?_getpages=abc&_getpagesoffset=10",
    b"/Patient?",
    b"/Patient??",
    b"/Patient?x=^{}[]`<>\"'",
]


@pytest.mark.parametrize("target", FHIR, ids=repr)
async def test_target_of_fhir_passes_byte_for_byte(target: bytes) -> None:
    sent = b"GET /fhir" + (target.removeprefix(b"/") if target.startswith(b"/?") else target)
    await assert_carried(get(target), sent)


KEPT = [
    b'X-Provenance: {"resourceType":"Provenance"}',
    b"X-MS-AZUREFHIR-AUDIT-USERID: ada",
    b"x-ms-profile-validation: true",
    b"If-None-Exist: identifier=1",
    b'If-Match: W/"1"',
    b"Prefer: return=minimal, respond-async",
    b"X-Request-Id: 1-2",
    b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    b"Ocp-Apim-Subscription-Key: k",
    b"Accept-Language: de",
]


@pytest.mark.parametrize("line", KEPT, ids=repr)
async def test_field_that_tools_rely_on_passes(line: bytes) -> None:
    async with ground() as here:
        (answer,) = await here.ask(get(b"/Patient?name=%x", line))
        name, value = line.split(b": ", 1)

        assert answer.status == 200
        assert here.upstream.requests[0].fields.all(name.lower()) == [value]


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE"])
async def test_method_without_body_passes(method: bytes) -> None:
    await assert_carried(head(method, b"/Patient/1"), method + b" /fhir/Patient/1")


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH"])
async def test_method_with_body_passes(method: bytes) -> None:
    async with ground() as here:
        (answer,) = await here.ask(post(b"Content-Type: application/fhir+json").replace(b"POST", method))

        assert (answer.status, here.upstream.bodies) == (200, [here.filled(b"%x")])
        assert await here.is_healthy()


ECHOES = [
    b"200 OK\r\nX-Echo: %b",
    b"200 OK\r\nX-Echo: Bearer %b, Bearer %b",
    b"200 %b",
    b"201 Created\r\nLocation: http://%u/fhir/Patient/1?access_token=%b",
    b"200 OK\r\nLink: <http://%u/fhir/Patient?token=%b>; rel=next",
    b'403 No\r\nWWW-Authenticate: Bearer error="invalid_token", error_description="%b"',
    b"404 No\r\nETag: W/%b\r\nContent-Type: text/%b",
    b"200 OK\r\n%b: x",
    b"500 No\r\nX-Request-Id: %b\r\nWarning: 199 - %b",
]


@pytest.mark.parametrize("echo", ECHOES, ids=repr)
async def test_token_that_the_server_quotes_in_its_head_goes_no_further(echo: bytes) -> None:
    async with ground() as here:
        said = here.filled(echo.replace(b"%b", TOKEN.encode()))
        here.upstream.reply = b"HTTP/1.1 " + said + b"\r\nContent-Length: 2\r\n\r\nok"
        (answer,) = await here.ask(get())  # which fails where the token is told

        assert (int(echo[:3]), b"ok") == (answer.status, answer.body)
        assert await here.is_healthy()
