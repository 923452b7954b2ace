from __future__ import annotations

import asyncio
import json
import math
import re
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from proxy.admin.application import SECURITY_FIELDS
from proxy.sandbox import Sandbox
from proxy.sandbox.tenant import SECRET, SERVICE

from ..fakes.byte_server import Peer, byte_server
from .running import operated, operated_before

PATHS = ("/", "/style.css", "/page.js", "/parts", "/healthz", "/readyz", "/metrics", "/api/status")


@pytest.fixture
async def tool() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(patients=3) as running:
        yield running


async def test_alive_whatever_the_server_does(tool: ClientSession) -> None:
    async with operated("http://127.0.0.1:9/fhir") as running, tool.get(f"{running.url}/healthz") as answer:
        assert (200, "alive\n") == (answer.status, await answer.text())


async def test_ready_before_the_first_request_by_signing_in(tool: ClientSession, sandbox: Sandbox) -> None:
    async with operated_before(sandbox) as running, tool.get(f"{running.url}/readyz") as answer:
        assert (200, "ready\n") == (answer.status, await answer.text())

    assert ["client_credentials"] == [record.grant_type for record in sandbox.tenant.token_requests]


async def test_not_ready_tells_why(tool: ClientSession, sandbox: Sandbox) -> None:
    async with operated_before(sandbox, client_secret="wrong") as running:
        async with tool.get(f"{running.url}/readyz") as answer:
            assert 503 == answer.status
            assert "AADSTS7000215" in await answer.text()


async def test_not_ready_while_the_server_is_away(tool: ClientSession) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with operated(f"http://127.0.0.1:{port}") as running, tool.get(f"{running.url}/readyz") as answer:
        assert 503 == answer.status
        assert f"127.0.0.1:{port}" in await answer.text()


async def test_not_ready_while_draining(tool: ClientSession, sandbox: Sandbox) -> None:
    async with operated_before(sandbox) as running:
        await running.proxy.stop(0)
        async with tool.get(f"{running.url}/readyz") as answer:
            assert (503, "The proxy is stopping.\n") == (answer.status, await answer.text())


async def test_status_tells_who_is_signed_in(tool: ClientSession, sandbox: Sandbox) -> None:
    async with operated_before(sandbox) as running:
        async with tool.get(f"{running.url}/api/status") as answer:
            status = await answer.json()
            (server,) = status["servers"]

    assert status["ready"] is True
    assert running.proxy.url == server["local_url"]
    assert (sandbox.fhir.base_url, "client-secret") == (server["base_url"], server["method"])
    assert SERVICE.client_id == server["application"]
    assert sandbox.tenant.authority.endswith(server["tenant"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", server["token_valid_until"])
    assert server["last_problem"] is None


async def test_status_tells_the_last_problem_in_words(tool: ClientSession, sandbox: Sandbox) -> None:
    async with operated_before(sandbox, client_secret="wrong") as running:
        async with tool.get(f"{running.proxy.url}/Patient") as answer:
            assert 502 == answer.status
        async with tool.get(f"{running.url}/api/status") as answer:
            (server,) = (await answer.json())["servers"]

    assert "AADSTS7000215" in server["last_problem"]["message"]
    assert server["last_problem"]["hint"]
    assert not server["ready"]


def samples(text: str) -> dict[str, float]:
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


async def test_metrics_count_exchanges_without_what_they_are_about(
    tool: ClientSession, sandbox: Sandbox
) -> None:
    async with operated_before(sandbox) as running:
        async with tool.get(f"{running.proxy.url}/Patient?name=Secretive&_count=1") as answer:
            assert 200 == answer.status
        async with tool.get(f"{running.proxy.url}/Patient") as answer:
            patient = (await answer.json(content_type=None))["entry"][0]["resource"]["id"]
        for target in (f"/Patient/{patient}", "/Patient/none"):
            async with tool.get(running.proxy.url + target) as answer:
                await answer.read()
        async with tool.get(f"{running.proxy.url}/Patient", headers={"Host": "evil.example"}) as answer:
            assert 421 == answer.status
        async with tool.get(f"{running.url}/metrics") as answer:
            assert "text/plain; version=0.0.4; charset=utf-8" == answer.headers["Content-Type"]
            text = await answer.text()

    found, server = samples(text), f'server="{sandbox.fhir.base_url}"'
    for interaction, status, count in (
        ("read", "2xx", 1),
        ("read", "4xx", 1),
        ("search-type", "2xx", 2),
        ("refused", "4xx", 1),
    ):
        labels = f'{{interaction="{interaction}",{server},status="{status}"}}'
        assert count == found[f"fhir_auth_proxy_exchanges_total{labels}"]
    assert 4 == found[f"fhir_auth_proxy_upstream_seconds_count{{{server}}}"]
    assert 2 == found[f'fhir_auth_proxy_exchange_seconds_count{{interaction="read",{server}}}']
    assert 1 == found[f"fhir_auth_proxy_tokens_total{{{server}}}"]
    assert 0 < found[f"fhir_auth_proxy_token_seconds_to_expiry{{{server}}}"] < 86_400
    assert 1 <= found[f"fhir_auth_proxy_client_connections{{{server}}}"]
    assert 1 <= found[f"fhir_auth_proxy_upstream_connections{{{server}}}"]
    assert 0 < found[f"fhir_auth_proxy_sent_bytes_total{{{server}}}"]
    assert "Secretive" not in text
    assert "/Patient" not in text


async def test_metrics_tell_what_the_server_asks_for(tool: ClientSession) -> None:
    asked, released = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 429 Slower\r\nx-ms-retry-after-ms: 20\r\nContent-Length: 0\r\n\r\n")
        await peer.head()
        asked.set()
        await released.wait()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await peer.head()
        await peer.send(b"HTTP/1.1 503 Later\r\nRetry-After: 17\r\nContent-Length: 0\r\n\r\n")

    async with byte_server(script) as fake, operated(f"http://127.0.0.1:{fake.port}") as running:
        label = f'{{server="http://127.0.0.1:{fake.port}"}}'

        async def level(name: str) -> float:
            async with tool.get(f"{running.url}/metrics") as answer:
                return samples(await answer.text())[f"fhir_auth_proxy_{name}{label}"]

        async def read() -> None:
            async with tool.get(f"{running.proxy.url}/Patient/1") as answer:
                await answer.read()

        assert (0, math.inf) == (await level("throttle_pause_seconds"), await level("concurrency_limit"))
        reading = asyncio.create_task(read())
        await asked.wait()
        assert 1 == await level("concurrency_limit")
        released.set()
        await reading
        assert 1 == await level("retries_total")
        reading = asyncio.create_task(read())
        while not await level("throttle_pause_seconds"):
            assert not reading.done()
        assert 10 < await level("throttle_pause_seconds") <= 17
        reading.cancel()


async def test_metrics_count_failed_sign_ins_by_kind(tool: ClientSession, sandbox: Sandbox) -> None:
    async with operated_before(sandbox, client_secret="wrong") as running:
        async with tool.get(f"{running.proxy.url}/Patient") as answer:
            await answer.read()
        async with tool.get(f"{running.url}/metrics") as answer:
            found = samples(await answer.text())

    labels = f'{{kind="AuthenticationFailed",server="{sandbox.fhir.base_url}"}}'
    assert 1 == found[f"fhir_auth_proxy_sign_in_failures_total{labels}"]


async def test_no_answer_holds_a_token_or_secret(tool: ClientSession, sandbox: Sandbox) -> None:
    async with operated_before(sandbox) as running:
        credentials = await running.proxy.watch.credentials()
        assert credentials is not None
        token = credentials.authorization.decode().removeprefix("Bearer ")
        for path in PATHS:
            async with tool.get(running.url + path) as answer:
                shown = json.dumps(dict(answer.headers)) + await answer.text()
                assert not any(secret in shown for secret in (SECRET, *token.split(".")))


@pytest.mark.parametrize("path", [*PATHS, "/nothing"])
async def test_every_answer_is_fenced_in(tool: ClientSession, path: str) -> None:
    async with operated("http://127.0.0.1:9") as running, tool.get(running.url + path) as answer:
        assert SECURITY_FIELDS.items() <= dict(answer.headers).items()
        assert "fhir-auth-proxy" == answer.headers["Server"]


WEB_PAGES = [
    ("rebinding", {"Host": "evil.example"}, 421),
    ("another site", {"Origin": "https://evil.example"}, 403),
    ("another local port", {"Origin": "http://localhost:3000"}, 403),
    ("a sandboxed frame", {"Origin": "null"}, 403),
    ("an image", {"Sec-Fetch-Site": "cross-site"}, 403),
]


@pytest.mark.parametrize("path", [*PATHS, "/nothing"])
@pytest.mark.parametrize(
    ("fields", "status"), [row[1:] for row in WEB_PAGES], ids=[row[0] for row in WEB_PAGES]
)
async def test_web_pages_read_nothing(
    tool: ClientSession, path: str, fields: dict[str, str], status: int
) -> None:
    async with operated("http://127.0.0.1:9") as running:
        async with tool.get(running.url + path, headers=fields) as answer:
            assert status == answer.status


@pytest.mark.parametrize(
    ("fields", "status"), [row[1:] for row in WEB_PAGES], ids=[row[0] for row in WEB_PAGES]
)
async def test_web_pages_stop_nothing(tool: ClientSession, fields: dict[str, str], status: int) -> None:
    async with operated("http://127.0.0.1:9") as running:
        async with tool.post(f"{running.url}/quitquitquit", headers=fields) as answer:
            assert status == answer.status
        assert not running.stopped.is_set()


ACTIONS = ("/quitquitquit", "/reload")


@pytest.mark.parametrize("path", ACTIONS)
async def test_not_even_its_own_page_stops_or_changes_it(tool: ClientSession, path: str) -> None:
    async with operated("http://127.0.0.1:9") as running:
        async with tool.post(running.url + path, headers={"Origin": running.url}) as answer:
            assert (403, "No web page") == (answer.status, (await answer.text())[:11])
        assert not running.stopped.is_set()


@pytest.mark.parametrize("path", ACTIONS)
async def test_reading_does_not_stop_or_change_it(tool: ClientSession, path: str) -> None:
    async with operated("http://127.0.0.1:9") as running:
        async with tool.get(running.url + path) as answer:
            assert 405 == answer.status
        assert not running.stopped.is_set()


async def test_whoever_is_on_the_machine_stops_it(tool: ClientSession) -> None:
    async with operated("http://127.0.0.1:9") as running:
        async with tool.post(f"{running.url}/quitquitquit") as answer:
            assert (200, "stopping\n") == (answer.status, await answer.text())
        assert running.stopped.is_set()


POD = "10.2.3.4:8079"
ON_A_POD = [
    ("/healthz", {}, 200),
    ("/readyz", {}, 503),
    ("/metrics", {}, 200),
    ("/api/status", {}, 421),
    ("/", {}, 421),
    ("/healthz", {"Origin": f"http://{POD}"}, 403),
    ("/metrics", {"Sec-Fetch-Site": "cross-site"}, 403),
]


@pytest.mark.parametrize(("path", "fields", "status"), ON_A_POD)
async def test_only_probes_answer_to_the_pods_address(
    tool: ClientSession, path: str, fields: dict[str, str], status: int
) -> None:
    async with operated("http://127.0.0.1:9", address="0.0.0.0:0") as running:
        async with tool.get(running.url + path, headers={"Host": POD, **fields}) as answer:
            assert status == answer.status
