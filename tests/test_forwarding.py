from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from xml.etree import ElementTree

import pytest
from aiohttp import ClientPayloadError, ClientResponse, ClientSession, DummyCookieJar
from yarl import URL

from proxy.sandbox import Sandbox
from proxy.sandbox.fhir import Answer, RejectToken
from proxy.server import Proxy

from .fakes.byte_server import ByteServer, Peer, Script, answering, byte_server
from .running import proxy_before, proxy_of

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
async def tool() -> AsyncIterator[ClientSession]:
    async with ClientSession(cookie_jar=DummyCookieJar()) as session:
        yield session


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(patients=30) as running:
        yield running


@pytest.fixture
async def proxy(sandbox: Sandbox) -> AsyncIterator[Proxy]:
    async with proxy_of(sandbox) as running:
        yield running


class Recording:
    """A script that keeps each request whole and answers it."""

    def __init__(self, response: bytes = OK) -> None:
        self.response = response
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []

    async def __call__(self, peer: Peer) -> None:
        while True:
            head = await peer.head()
            self.heads.append(head)
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
            if b"content-length" in fields:
                self.bodies.append(await peer.exactly(int(fields[b"content-length"])))
            elif b"transfer-encoding" in fields:
                self.bodies.append(await self._chunked(peer))
            await peer.send(self.response)

    async def _chunked(self, peer: Peer) -> bytes:
        body = b""
        while size := int((await peer.reader.readuntil(b"\r\n")).strip(), 16):
            body += await peer.exactly(size)
            await peer.exactly(2)
        await peer.exactly(2)
        return body

    def field(self, name: str) -> str | None:
        """The value of a field of the last request."""
        for line in self.heads[-1].decode("latin-1").split("\r\n")[1:]:
            if line.lower().startswith(f"{name.lower()}: "):
                return line.split(": ", 1)[1]
        return None


@asynccontextmanager
async def before(
    script: Script, path: str = "", **settings: object
) -> AsyncIterator[tuple[Proxy, ByteServer]]:
    async with (
        byte_server(script) as server,
        proxy_before(f"http://127.0.0.1:{server.port}{path}", **settings) as proxy,
    ):
        yield proxy, server


async def issue(response: ClientResponse) -> dict[str, str]:
    outcome = await response.json(content_type=None)
    assert outcome["resourceType"] == "OperationOutcome"
    return {
        "code": outcome["issue"][0]["code"],
        "text": outcome["issue"][0]["details"]["text"],
        "hint": outcome["issue"][0].get("diagnostics", ""),
    }


# Requests -----------------------------------------------------------------------------------------------------------


TARGETS = [
    "/Patient?identifier=https://x.example/ids%7C1|2",
    "/Patient?name=a+b%20c,d&name=e&_sort=-birthdate,name&x=%2F&y=%c3%A4",
    "/Observation?code=http%3A%2F%2Floinc.org%7C8867-4&_include=Observation:subject",
    "/Patient/$everything?_since=2020-01-01T00:00:00.000+01:00",
    "/?_getpages=abc&_getpagesoffset=10",
    "/Patient?" + "_id=" + ",".join(str(number) for number in range(5000)),
]


@pytest.mark.parametrize("target", TARGETS, ids=range(len(TARGETS)))
async def test_target_arrives_byte_for_byte(tool: ClientSession, target: str) -> None:
    server = Recording()
    async with before(server) as (proxy, _), tool.get(URL(proxy.url + target, encoded=True)) as response:
        assert response.status == 200

    assert f"GET {target} HTTP/1.1".encode() == server.heads[0].split(b"\r\n")[0]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
async def test_every_method_of_fhir_arrives(tool: ClientSession, method: str) -> None:
    server = Recording(b"HTTP/1.1 204 No Content\r\n\r\n")
    async with before(server) as (proxy, _), tool.request(method, f"{proxy.url}/Patient/1") as response:
        assert response.status == 204

    assert server.heads[0].startswith(method.encode() + b" /Patient/1 ")


async def test_path_of_the_base_is_optional(tool: ClientSession) -> None:
    server = Recording()
    async with before(server, "/fhir/r4") as (proxy, _):
        root = proxy.url.removesuffix("/fhir/r4")
        for url in (f"{proxy.url}/Patient", f"{root}/Patient", f"{root}/?_getpages=1", proxy.url):
            async with tool.get(url) as response:
                assert response.status == 200

    targets = [head.split(b" ")[1] for head in server.heads]
    assert targets == [b"/fhir/r4/Patient", b"/fhir/r4/Patient", b"/fhir/r4?_getpages=1", b"/fhir/r4"]


async def test_fields_cross_but_for_those_of_the_hop_and_the_browser(tool: ClientSession) -> None:
    server = Recording()
    fields = {
        "X-Provenance": '{"resourceType":"Provenance"}',
        "X-MS-AZUREFHIR-AUDIT-USER": "ada",
        "If-None-Exist": "identifier=1",
        "Prefer": "return=minimal",
        "Cookie": "session=1",
        "X-Forwarded-Host": "evil.example",
        "Connection": "close, x-hop",
        "X-Hop": "1",
    }
    async with before(server) as (proxy, fake):
        async with tool.get(f"{proxy.url}/Patient", headers=fields) as response:
            assert response.status == 200
        assert server.field("Host") == f"127.0.0.1:{fake.port}"

    assert [server.field(name) for name in fields] == [
        '{"resourceType":"Provenance"}',
        "ada",
        "identifier=1",
        "return=minimal",
        None,
        None,
        None,
        None,
    ]


async def test_small_body_keeps_a_length(tool: ClientSession) -> None:
    server = Recording()
    async with before(server) as (proxy, _):
        async with tool.post(
            f"{proxy.url}/Patient", data=b'{"a": 1.10}', headers={"Content-Type": "application/json"}
        ):
            pass

    assert (server.field("Content-Length"), server.bodies) == ("11", [b'{"a": 1.10}'])


async def test_large_body_that_is_not_rewritten_streams_with_its_length(tool: ClientSession) -> None:
    server = Recording()
    body = bytes(range(256)) * 20_000
    async with (
        before(server) as (proxy, _),
        tool.post(f"{proxy.url}/Binary", data=BytesIO(body), headers={"Content-Type": "application/pdf"}),
    ):
        pass

    assert (server.field("Content-Length"), server.bodies == [body]) == (str(len(body)), True)


async def test_large_json_body_streams_rewritten(tool: ClientSession) -> None:
    server = Recording()
    async with before(server) as (proxy, fake):
        entry = f'{{"reference":"{proxy.url}/Patient/1"}},'
        body = ("[" + entry * 20_000 + "1.10]").encode()
        async with tool.post(
            f"{proxy.url}/", data=BytesIO(body), headers={"Content-Type": "application/fhir+json"}
        ):
            pass
        expected = body.replace(proxy.url.encode(), b"http://127.0.0.1:%d" % fake.port)

    assert server.bodies == [expected]


async def test_gzipped_body_is_rewritten_and_sent_plain(tool: ClientSession) -> None:
    server = Recording()
    async with before(server) as (proxy, fake):
        body = json.dumps({"reference": f"{proxy.url}/Patient/1"}).encode()
        fields = {"Content-Type": "application/fhir+json", "Content-Encoding": "gzip"}
        async with tool.post(f"{proxy.url}/Patient", data=gzip.compress(body), headers=fields) as response:
            assert response.status == 200

    assert server.bodies == [body.replace(proxy.url.encode(), b"http://127.0.0.1:%d" % fake.port)]
    assert server.field("Content-Encoding") is None


async def test_unreadable_body_is_refused_before_anything_is_sent(tool: ClientSession) -> None:
    server = Recording()
    async with before(server) as (proxy, _):
        fields = {"Content-Type": "application/fhir+json", "Content-Encoding": "compress"}
        async with tool.post(f"{proxy.url}/Patient", data=b"x", headers=fields) as response:
            assert response.status == 415

    assert server.heads == []


# Answers ------------------------------------------------------------------------------------------------------------


async def test_links_lead_through_the_proxy_to_the_last_page(tool: ClientSession, proxy: Proxy) -> None:
    url: str | None = f"{proxy.url}/Patient?_count=7"
    seen = []
    while url:
        assert url.startswith(proxy.url)
        async with tool.get(url) as response:
            bundle = await response.json(content_type=None)
        seen += [entry["fullUrl"] for entry in bundle["entry"]]
        url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)

    assert (len(seen), len(set(seen))) == (30, 30)


async def test_location_is_local(tool: ClientSession, proxy: Proxy) -> None:
    async with tool.post(f"{proxy.url}/Patient", json={"resourceType": "Patient"}) as response:
        assert response.status == 201

    assert response.headers["Location"].startswith(f"{proxy.url}/Patient/")


async def test_redirect_is_passed_and_never_followed(tool: ClientSession) -> None:
    server = Recording(b"HTTP/1.1 302 Found\r\nLocation: http://evil.example/\r\nContent-Length: 0\r\n\r\n")
    async with (
        before(server) as (proxy, _),
        tool.get(f"{proxy.url}/Patient", allow_redirects=False) as response,
    ):
        assert (response.status, response.headers["Location"]) == (302, "http://evil.example/")


@pytest.mark.parametrize("status", [200, 403, 404, 410, 412, 422, 429, 500, 503])
async def test_other_statuses_are_the_servers_own(tool: ClientSession, sandbox: Sandbox, status: int) -> None:
    sandbox.fhir.faults.append(Answer(status, (("Retry-After", "7"),), b"said"))
    async with proxy_of(sandbox, retry="off") as proxy, tool.get(f"{proxy.url}/Patient") as response:
        assert (response.status, response.headers["Retry-After"], await response.read()) == (
            status,
            "7",
            b"said",
        )
        assert "Proxy-Status" not in response.headers


async def test_field_values_pass_as_bytes() -> None:
    response = b"HTTP/1.1 200 OK\r\nX-Latin: M\xfcller\r\ncOnTeNt-LENGTH: 2\r\n\r\nok"
    async with before(answering(response)) as (proxy, _):
        raw = await exchange(proxy, b"GET /Patient HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n")

    assert b"\r\nX-Latin: M\xfcller\r\n" in raw
    assert b"\r\ncOnTeNt-LENGTH: 2\r\n" in raw


async def test_head_keeps_the_length_of_what_a_get_would_give(tool: ClientSession) -> None:
    server = Recording(b"HTTP/1.1 200 OK\r\nContent-Type: application/pdf\r\nContent-Length: 1234\r\n\r\n")
    async with before(server) as (proxy, _), tool.head(f"{proxy.url}/Binary/1") as response:
        assert (response.status, response.headers["Content-Length"]) == (200, "1234")


async def test_compressed_json_is_rewritten_for_a_tool_that_takes_none(tool: ClientSession) -> None:
    bodies: list[bytes] = []

    async def script(peer: Peer) -> None:
        port = peer.writer.get_extra_info("sockname")[1]
        body = json.dumps({"fullUrl": f"http://127.0.0.1:{port}/Patient/1"}).encode()
        bodies.append(body)
        await peer.head()
        packed = gzip.compress(body)
        await peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nContent-Encoding: gzip\r\n"
            b'ETag: "strong"\r\nContent-Length: %d\r\n\r\n' % len(packed),
            packed,
        )

    async with before(script) as (proxy, fake):
        async with tool.get(f"{proxy.url}/Patient/1", headers={"Accept-Encoding": "identity"}) as response:
            body = await response.read()
        expected = bodies[0].replace(b"http://127.0.0.1:%d" % fake.port, proxy.url.encode())

    assert body == expected
    assert (response.headers.get("Content-Encoding"), response.headers["ETag"]) == (None, 'W/"strong"')
    assert response.headers["Content-Length"] == str(len(expected))


async def test_cut_answer_is_cut_for_the_tool(tool: ClientSession) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 400_000)
        peer.close()

    async with before(script) as (proxy, _):
        with pytest.raises(ClientPayloadError):
            async with tool.get(f"{proxy.url}/Binary/1") as response:
                await response.read()


async def test_cut_small_answer_is_told(tool: ClientSession) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
        peer.close()

    async with before(script) as (proxy, _), tool.get(f"{proxy.url}/Patient") as response:
        assert (response.status, (await issue(response))["code"]) == (502, "transient")


# Signing in ---------------------------------------------------------------------------------------------------------


async def test_tools_own_authorization_never_reaches_a_server_that_we_sign_in_to(
    tool: ClientSession, proxy: Proxy
) -> None:
    async with tool.get(f"{proxy.url}/Patient", headers={"Authorization": "Basic Zm9vOmJhcg=="}) as response:
        assert response.status == 200


async def test_anonymous_server_gets_the_tools_own_authorization(tool: ClientSession) -> None:
    server = Recording(
        b"HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n"
    )
    async with before(server) as (proxy, _):
        async with tool.get(
            f"{proxy.url}/Patient", headers={"Authorization": "Basic Zm9vOmJhcg=="}
        ) as response:
            assert (response.status, response.headers.getall("WWW-Authenticate")) == (401, ["Bearer"])

    assert server.field("Authorization") == "Basic Zm9vOmJhcg=="


async def test_many_first_requests_cause_one_token_request(
    tool: ClientSession, sandbox: Sandbox, proxy: Proxy
) -> None:
    async def ask() -> int:
        async with tool.get(f"{proxy.url}/Patient?_count=1") as response:
            return response.status

    assert await asyncio.gather(*(ask() for _ in range(200))) == [200] * 200
    assert len(sandbox.tenant.token_requests) == 1


async def test_refused_token_is_renewed_once_and_the_body_sent_again(
    tool: ClientSession, sandbox: Sandbox, proxy: Proxy
) -> None:
    async with tool.get(f"{proxy.url}/Patient?_count=1"):
        pass
    sandbox.fhir.faults.append(RejectToken())
    async with tool.post(f"{proxy.url}/Patient", json={"resourceType": "Patient"}) as response:
        assert response.status == 201

    assert [record.status for record in sandbox.fhir.requests] == [200, 401, 201]
    assert len(sandbox.tenant.token_requests) == 2


async def test_token_refused_twice_is_told_without_a_challenge(
    tool: ClientSession, sandbox: Sandbox, proxy: Proxy
) -> None:
    sandbox.fhir.faults.extend([RejectToken("The token was revoked")] * 2)
    async with tool.get(f"{proxy.url}/Patient") as response:
        told = await issue(response)
        assert (response.status, told["code"], "WWW-Authenticate" in response.headers) == (
            502,
            "login",
            False,
        )

    assert "The token was revoked" in told["text"]


async def test_wrong_audience_names_what_the_server_expects(tool: ClientSession, sandbox: Sandbox) -> None:
    sandbox.fhir.access.audience = "api://fhir"
    async with proxy_of(sandbox) as proxy, tool.get(f"{proxy.url}/Patient") as response:
        assert (response.status, "--audience api://fhir" in (await issue(response))["hint"]) == (502, True)


async def test_large_upload_whose_token_is_refused_is_told(
    tool: ClientSession, sandbox: Sandbox, proxy: Proxy
) -> None:
    sandbox.fhir.faults.append(RejectToken())
    body = b"x" * 600_000
    async with tool.post(
        f"{proxy.url}/Binary", data=body, headers={"Content-Type": "application/pdf"}
    ) as response:
        assert (response.status, (await issue(response))["code"]) == (502, "login")
    async with tool.post(
        f"{proxy.url}/Binary", data=body, headers={"Content-Type": "application/pdf"}
    ) as response:
        assert response.status == 201


async def test_servers_sign_in_is_hidden(tool: ClientSession, proxy: Proxy) -> None:
    async with tool.get(f"{proxy.url}/.well-known/smart-configuration") as response:
        assert response.status == 404
    async with tool.get(f"{proxy.url}/metadata") as response:
        statement = await response.json(content_type=None)

    assert all("security" not in rest for rest in statement["rest"])


async def test_servers_sign_in_can_be_shown(tool: ClientSession, sandbox: Sandbox) -> None:
    async with (
        proxy_of(sandbox, advertise_auth="pass") as proxy,
        tool.get(f"{proxy.url}/metadata") as response,
    ):
        statement = await response.json(content_type=None)

    assert "security" in statement["rest"][0]


# Refusals and failures ----------------------------------------------------------------------------------------------


async def exchange(proxy: Proxy, request: bytes) -> bytes:
    """What the proxy answers to exact bytes, `%b` standing for its Host."""
    url = URL(proxy.url)
    reader, writer = await asyncio.open_connection("127.0.0.1", url.port)
    writer.write(request.replace(b"%b", f"{url.host}:{url.port}".encode()))
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


REFUSED = [
    (b"GET /Patient HTTP/1.1\r\nHost: evil.example\r\n\r\n", b" 421 "),
    (b"GET /Patient HTTP/1.1\r\nConnection: close\r\n\r\n", b" 400 "),
    (
        b"GET /Patient HTTP/1.1\r\nHost: %b\r\nOrigin: https://evil.example\r\nConnection: close\r\n\r\n",
        b" 403 ",
    ),
    (
        b"GET /Patient HTTP/1.1\r\nHost: %b\r\nSec-Fetch-Site: cross-site\r\nConnection: close\r\n\r\n",
        b" 403 ",
    ),
    (b"TRACE /Patient HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n", b" 405 "),
    (b"GET /../admin HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n", b" 400 "),
    (b"GET http://evil.example/ HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n", b" 400 "),
    (b"GET /Patient?x=" + b"y" * 33_000 + b" HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n", b" 414 "),
    (
        b"GET /Patient HTTP/1.1\r\nHost: %b\r\nX: " + b"y" * 33_000 + b"\r\nConnection: close\r\n\r\n",
        b" 431 ",
    ),
    (
        b"GET /Patient HTTP/1.1\r\nHost: %b\r\nX: " + b"y" * 70_000 + b"\r\nConnection: close\r\n\r\n",
        b" 431 ",
    ),
    (b"ping\r\n\r\n", b" 400 "),
    (
        b"POST /Patient HTTP/1.1\r\nHost: %b\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b" 400 ",
    ),
]


@pytest.mark.parametrize(("request_bytes", "status"), REFUSED, ids=range(len(REFUSED)))
async def test_refused_request_reaches_no_one(request_bytes: bytes, status: bytes) -> None:
    server = Recording()
    async with before(server) as (proxy, _):
        answer = await exchange(proxy, request_bytes.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    assert (answer[8:13], server.heads) == (status, [])
    assert b'"OperationOutcome"' in answer


async def test_failure_is_told_in_the_format_that_the_tool_asked_for(tool: ClientSession) -> None:
    async with before(Recording()) as (proxy, _):
        fields = {"Accept": "application/fhir+xml", "Origin": "https://evil.example"}
        async with tool.get(f"{proxy.url}/Patient", headers=fields) as response:
            root = ElementTree.fromstring(await response.read())

    assert root.tag == "{http://hl7.org/fhir}OperationOutcome"


async def test_unreachable_server_is_told(tool: ClientSession, unused_tcp_port: int) -> None:
    async with proxy_before(f"http://127.0.0.1:{unused_tcp_port}") as proxy:
        async with tool.get(f"{proxy.url}/Patient") as response:
            assert (response.status, (await issue(response))["code"]) == (502, "transient")
            assert response.headers["Proxy-Status"].startswith("fhir-auth-proxy; error=")


async def test_tool_that_leaves_ends_the_request_to_the_server() -> None:
    arrived = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        arrived.set()
        assert await peer.rest() == b""

    async with before(script) as (proxy, fake):
        url = URL(proxy.url)
        _, writer = await asyncio.open_connection("127.0.0.1", url.port)
        writer.write(b"GET /Patient HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % url.port)
        async with asyncio.timeout(10):
            await arrived.wait()
            writer.close()
            await fake.until_closed()


async def test_cut_upload_never_looks_complete_to_the_server() -> None:
    received: list[bytes] = []
    arrived = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        arrived.set()
        received.append(await peer.rest())

    async with before(script) as (proxy, fake):
        url = URL(proxy.url)
        _, writer = await asyncio.open_connection("127.0.0.1", url.port)
        writer.write(
            b"POST /Binary HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/pdf\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n80000\r\n%b\r\n" % (url.port, b"x" * 0x80000)
        )
        await writer.drain()
        async with asyncio.timeout(10):
            await arrived.wait()
            writer.close()
            await fake.until_closed()

    assert b"\r\n0\r\n\r\n" not in received[0]


async def test_expected_continue_is_given_once_the_request_is_welcome() -> None:
    server = Recording()
    async with before(server) as (proxy, _):
        url = URL(proxy.url)
        reader, writer = await asyncio.open_connection("127.0.0.1", url.port)
        writer.write(
            b"POST /Patient HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nExpect: 100-continue\r\nConnection: close\r\n"
            b"Content-Length: 2\r\n\r\n" % url.port
        )
        async with asyncio.timeout(10):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"{}")
            assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
        writer.close()

    assert server.bodies == [b"{}"]
