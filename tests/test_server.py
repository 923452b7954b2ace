from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import ClientSession

from proxy.config import Config, settings
from proxy.errors import ConfigError
from proxy.sandbox import Sandbox
from proxy.sandbox.tenant import DESKTOP, Hang
from proxy.serving import serve
from proxy.signals import Stop

from .fakes.browser import ScriptedBrowser
from .fakes.byte_server import Peer, byte_server
from .running import proxy_before, proxy_of, unattended


@pytest.fixture
async def tool() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


def has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


async def status(tool: ClientSession, url: str) -> int:
    async with tool.get(url) as response:
        await response.read()
        return response.status


async def test_localhost_listens_on_every_loopback_address() -> None:
    async with Sandbox(patients=1, is_open=True) as sandbox:
        async with proxy_before(sandbox.fhir.base_url, listen="localhost:0") as proxy:
            authority = proxy.url.removeprefix("http://")
            for address in ["127.0.0.1", *(["::1"] if has_ipv6_loopback() else [])]:
                reader, writer = await asyncio.open_connection(address, int(authority.rpartition(":")[2]))
                writer.write(
                    f"GET /Patient HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n".encode()
                )
                assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
                writer.close()

    assert authority.startswith("localhost:")


async def test_server_with_a_private_certificate_is_trusted_by_ca_bundle(tool: ClientSession) -> None:
    async with Sandbox(patients=1, is_tls=True) as sandbox, proxy_of(sandbox) as proxy:
        assert await status(tool, f"{proxy.url}/Patient") == 200


async def test_server_with_an_unknown_certificate_is_told(tool: ClientSession) -> None:
    async with Sandbox(patients=1, is_tls=True, is_open=True) as sandbox:
        async with proxy_before(sandbox.fhir.base_url) as proxy, tool.get(f"{proxy.url}/Patient") as response:
            text = await response.text()

    assert (response.status, "--ca-bundle" in text) == (502, True)


async def test_relative_links_work_since_the_path_is_the_servers(tool: ClientSession) -> None:
    async with Sandbox(patients=12, base_path="/fhir/r4", spelling="relative") as sandbox:
        async with proxy_of(sandbox) as proxy:
            assert proxy.url.endswith("/fhir/r4")
            async with tool.get(f"{proxy.url}/Patient?_count=5") as response:
                bundle = await response.json(content_type=None)
            link = next(link["url"] for link in bundle["link"] if link["relation"] == "next")
            async with tool.get(response.url.join(type(response.url)(link, encoded=True))) as second:
                assert (await second.json(content_type=None))["entry"]


async def test_auto_finds_the_way_and_says_it(tool: ClientSession) -> None:
    told: list[str] = []
    async with Sandbox(patients=1) as sandbox:
        async with proxy_of(sandbox, unattended(told), auth="auto") as proxy:
            assert await status(tool, f"{proxy.url}/Patient") == 200
    assert "signs in at" in told[0]

    told.clear()
    async with Sandbox(patients=1, is_open=True) as sandbox:
        async with proxy_before(sandbox.fhir.base_url, unattended(told), auth="auto") as proxy:
            assert await status(tool, f"{proxy.url}/Patient") == 200
    assert "served anonymously" in told[0]


async def test_auto_starts_no_sign_in_that_needs_a_person_where_none_is(tool: ClientSession) -> None:
    async with Sandbox(patients=1) as sandbox:
        settings = {"auth": "auto", "client_id": DESKTOP.client_id, "client_secret": None}
        async with proxy_of(sandbox, **settings) as proxy, tool.get(f"{proxy.url}/Patient") as response:
            issue = (await response.json(content_type=None))["issue"][0]

    assert (response.status, issue["code"]) == (503, "login")
    assert "--auth device-code" in issue["diagnostics"]
    assert [record.endpoint for record in sandbox.tenant.requests] == []


async def test_several_servers_each_have_their_listener(tool: ClientSession) -> None:
    urls: asyncio.Queue[str] = asyncio.Queue()
    stop = Stop()
    async with Sandbox(patients=1, is_open=True) as one, Sandbox(patients=2, is_open=True) as two:
        servers = [
            {"base_url": sandbox.fhir.base_url, "listen": "127.0.0.1:0", "auth": "anonymous"}
            for sandbox in (one, two)
        ]
        config = Config.of({"server": servers})
        running = asyncio.create_task(serve(config, announce=urls.put_nowait, seams=unattended(), stop=stop))
        totals = []
        for url in [await urls.get(), await urls.get()]:
            async with tool.get(f"{url}/Patient?_summary=count") as response:
                totals.append((await response.json(content_type=None))["total"])
        stop.ask()
        await running

    assert totals == [1, 2]


async def test_without_a_terminal_a_tool_is_told_the_page(tool: ClientSession, tmp_path: Path) -> None:
    urls: asyncio.Queue[str] = asyncio.Queue()
    stop = Stop()
    async with Sandbox(patients=1) as sandbox:
        ca_file = tmp_path / "ca.pem"
        ca_file.write_bytes(sandbox.tenant.ca_pem)
        server = {
            "base_url": sandbox.fhir.base_url,
            "listen": "127.0.0.1:0",
            "auth": "auto",
            "client_id": DESKTOP.client_id,
            "authority": sandbox.tenant.authority,
            "ca_bundle": str(ca_file),
            "sign_in_wait": 0.05,
        }
        config = Config.of({"server": [server], "admin_listen": "127.0.0.1:0"})
        browser = ScriptedBrowser(sandbox.tenant.ca_pem)
        browser.acts = False
        seams = replace(unattended(), browser=browser)
        running = asyncio.create_task(serve(config, announce=urls.put_nowait, seams=seams, stop=stop))
        async with tool.get(f"{await urls.get()}/Patient") as response:
            issue = (await response.json(content_type=None))["issue"][0]
        found = re.search(r"Sign in at (http://\S+)\.", issue["diagnostics"])
        assert found is not None
        async with tool.get(found[1]) as page:
            assert "Sign in with the browser" in await page.text()
        stop.ask()
        await running
        await browser.close()

    assert (503, "login") == (response.status, issue["code"])
    assert [found[1]] == browser.opened


async def test_default_admin_listener_gives_way_to_a_server(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    servers = [{"base_url": "http://127.0.0.1:9", "listen": address, "auth": "anonymous"}]
    config = Config.of({"server": servers, "admin_listen": address})
    monkeypatch.setattr(settings, "DEFAULT_ADMIN_LISTEN", config.admin_listen)
    stop = Stop()
    stop.ask()
    await serve(config, announce=urls.append, seams=unattended(), stop=stop)

    assert [f"http://{address}"] == urls
    assert f"No admin listener: a server has {address}" in caplog.text


async def test_no_server_starts_where_one_cannot() -> None:
    urls: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        servers = [
            {"base_url": "https://a.example", "listen": "127.0.0.1:0", "auth": "anonymous"},
            {
                "base_url": "https://b.example",
                "listen": f"127.0.0.1:{taken.getsockname()[1]}",
                "auth": "anonymous",
            },
        ]
        with pytest.raises(ConfigError, match="is taken"):
            await serve(Config.of({"server": servers}), announce=urls.append, seams=unattended())

    assert urls == []


async def test_drain_lets_an_exchange_end_and_then_cuts_it() -> None:
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        asked.set()
        await peer.rest()

    async with byte_server(script) as upstream, ClientSession() as tool:
        async with proxy_before(f"http://127.0.0.1:{upstream.port}") as proxy:
            request = asyncio.ensure_future(tool.get(f"{proxy.url}/Patient/1"))
            await asked.wait()
            cut = asyncio.Event()
            stopping = asyncio.ensure_future(proxy.stop(60, cut))
            await asyncio.sleep(0)
            assert not stopping.done()
            cut.set()
            await stopping
            outcome = (await asyncio.gather(request, return_exceptions=True))[0]
            await upstream.until_closed()

    assert isinstance(outcome, Exception)


async def test_stop_does_not_wait_for_entra_that_hangs(tool: ClientSession) -> None:
    async with Sandbox(patients=1) as sandbox:
        hang = Hang()
        sandbox.tenant.faults.always(hang)
        async with proxy_of(sandbox) as proxy:
            waiting = asyncio.create_task(said(tool, f"{proxy.url}/Patient"))
            await hang.reached.wait()
            await proxy.stop(3600)
            told = await waiting
        sandbox.tenant.faults.clear()

    assert "The proxy is stopping" in told


async def test_answer_that_is_under_way_when_the_proxy_stops_keeps_its_token(tool: ClientSession) -> None:
    async with Sandbox(patients=300) as sandbox, proxy_of(sandbox) as proxy:
        async with tool.get(f"{proxy.url}/Patient?_count=300") as answer:
            stopping = asyncio.create_task(proxy.stop(3600))
            body = await answer.json()
        await stopping
        credentials = await proxy.watch.credentials()

    assert len(body["entry"]) == 300
    assert credentials is not None


async def said(tool: ClientSession, url: str) -> str:
    async with tool.get(url) as response:
        return await response.text()
