from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
import trustme
from aiohttp import ClientSession, DummyCookieJar, TCPConnector

from proxy.admin import AdminListener, Metrics
from proxy.admin.exposition import Exposition
from proxy.config import Config
from proxy.errors import ConfigError, ProxyUnavailable
from proxy.reload import Reload
from proxy.sandbox import Sandbox
from proxy.sandbox.tenant import SECRET, SERVICE
from proxy.servers import Servers
from proxy.signals import Stop

from .fakes.byte_server import Peer, Script, byte_server
from .running import unattended


@pytest.fixture
async def tool() -> AsyncIterator[ClientSession]:
    async with ClientSession(cookie_jar=DummyCookieJar()) as session:
        yield session


def saying(word: bytes) -> Script:
    async def script(peer: Peer) -> None:
        while True:
            await peer.head()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(word), word))

    return script


Settings = dict[str, object]


def server(port: int, listen: str = "127.0.0.1:0", **settings: object) -> Settings:
    return {"base_url": f"http://127.0.0.1:{port}", "listen": listen, "auth": "anonymous", **settings}


class Running:
    """All servers of a process, in this one, and the settings that they read when they are told to."""

    def __init__(self, *settings: Settings) -> None:
        self.settings: Sequence[Settings] = settings
        self.process: Settings = {}
        self.announced: list[str] = []
        self.stop = Stop()
        self.counted = Metrics()
        self.admin = AdminListener(self.counted, self.stop.drain.set)
        announce, page_of = self.announced.append, self.admin.page_of
        self.servers = Servers(self.read(), unattended(), announce, self.counted, page_of)
        self.reload = Reload(self.servers, self.read, self.stop, self.admin.follow)

    def read(self) -> Config:
        if not self.settings:
            raise ConfigError("listen = 1 is wrong\nauth = 2 is wrong")
        return Config.of({"server": list(self.settings), **self.process})

    async def change(self, *settings: Settings) -> str:
        self.settings = settings
        return await self.reload()

    @property
    def urls(self) -> list[str]:
        return [proxy.url for proxy in self.servers.proxies]

    @property
    def metrics(self) -> str:
        return Exposition(self.counted).text().decode()


@asynccontextmanager
async def running(*settings: Settings) -> AsyncIterator[Running]:
    program = Running(*settings)
    try:
        await program.servers.start()
        async with asyncio.timeout(30):
            yield program
    finally:
        program.stop.ask()
        await program.servers.stop(program.stop.cut)


async def ask(tool: ClientSession, url: str, path: str = "/Patient/1") -> bytes:
    async with tool.get(url + path) as response:
        return await response.read()


async def create(tool: ClientSession, url: str) -> int:
    async with tool.post(f"{url}/Patient", data=b"{}") as response:
        return response.status


async def test_no_request_fails_while_settings_change_again_and_again(unused_tcp_port: int) -> None:
    listen = f"127.0.0.1:{unused_tcp_port}"
    url = f"http://{listen}"
    rounds = [asyncio.Event() for _ in range(20)]
    words: list[bytes] = []

    async def load(tool: ClientSession) -> None:
        while not rounds[-1].is_set():
            words.append(await ask(tool, url))

    async with byte_server(saying(b"one")) as one, byte_server(saying(b"two")) as two:
        async with running(server(one.port, listen)) as program, ClientSession() as tool:
            tasks = [asyncio.create_task(load(tool)) for _ in range(10)]
            for number, done in enumerate(rounds):
                asked = len(words) + 20
                upstream = one if number % 2 else two
                await program.change(server(upstream.port, listen, read_timeout=100 + number % 3))
                while len(words) < asked:
                    await ask(tool, url)
                done.set()
            await asyncio.gather(*tasks)

    assert {b"one", b"two"} == set(words)


async def test_exchange_that_runs_ends_by_the_old_settings(tool: ClientSession, unused_tcp_port: int) -> None:
    asked, released = asyncio.Event(), asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.head()
        asked.set()
        await released.wait()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold")

    listen = f"127.0.0.1:{unused_tcp_port}"
    async with byte_server(slow) as old, byte_server(saying(b"new")) as new:
        async with running(server(old.port, listen)) as program:
            url = program.urls[0]
            before = asyncio.create_task(ask(tool, url))
            await asked.wait()
            assert "The settings were read again." == await program.change(server(new.port, listen))
            assert b"new" == await ask(tool, url)
            released.set()
            assert b"old" == await before
            await old.until_closed()
            assert f"127.0.0.1:{old.port}" not in program.metrics
            assert f"127.0.0.1:{new.port}" in program.metrics


async def test_kept_connection_gets_the_new_rules(unused_tcp_port: int) -> None:
    listen = f"127.0.0.1:{unused_tcp_port}"
    async with byte_server(saying(b"ok")) as fake, running(server(fake.port, listen)) as program:
        async with ClientSession(connector=TCPConnector(limit=1)) as tool:
            assert 200 == await create(tool, program.urls[0])
            await program.change(server(fake.port, listen, policy="read-only"))
            # The refusal comes before the body is read, and so ends the connection.
            assert f'client_connections{{server="http://127.0.0.1:{fake.port}"}} 1.0' in program.metrics
            assert 403 == await create(tool, program.urls[0])


async def test_connections_to_the_server_stay_where_its_settings_do(tool: ClientSession) -> None:
    async with byte_server(saying(b"ok")) as fake, running(server(fake.port)) as program:
        for settings in ({}, {"policy": "read-only"}, {"retry_wait": 3}):
            await program.change(server(fake.port, **settings))
            await ask(tool, program.urls[0])
        assert 1 == fake.accepted
        await program.change(server(fake.port, read_timeout=3))
        await ask(tool, program.urls[0])
        assert 2 == fake.accepted


async def test_wrong_settings_are_all_told_and_the_old_ones_stay(
    tool: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with byte_server(saying(b"ok")) as fake, running(server(fake.port)) as program:
        with pytest.raises(ConfigError) as refused:
            await program.change()
        assert "listen = 1 is wrong\nauth = 2 is wrong" == refused.value.message
        wrong: Settings = {
            "base_url": "https://fhir.example",
            "ca_bundle": "/nowhere/ca",
            "auth": "anonymous",
        }
        missing = [{**wrong, "key_file": f"/nowhere/{name}"} for name in ("a", "b")]
        with pytest.raises(ConfigError) as refused:
            await program.change(*missing, server(fake.port, policy="read-only"))
        for name in ("/nowhere/a", "/nowhere/b", "/nowhere/ca"):
            assert name in refused.value.message
            assert any(name in record.message for record in caplog.records)
        assert 5 <= len([record for record in caplog.records if record.levelno == logging.ERROR])

        assert 200 == await create(tool, program.urls[0])


async def test_address_that_cannot_be_had_changes_nothing(tool: ClientSession) -> None:
    async with byte_server(saying(b"ok")) as fake, running(server(fake.port)) as program:
        url = program.urls[0]
        with pytest.raises(ConfigError, match="is taken by"):
            await program.change(server(fake.port, policy="read-only"), server(1, f"127.0.0.1:{fake.port}"))
        assert 200 == await create(tool, url)
        assert [url] == [watch.local_url for watch in program.servers.watches]
        assert 1 == program.metrics.count("upstream_connections{")


@pytest.mark.parametrize(("before", "after"), [("localhost", "127.0.0.1"), ("127.0.0.1", "localhost")])
async def test_other_name_of_the_same_port_needs_a_new_start(
    tool: ClientSession, unused_tcp_port: int, before: str, after: str
) -> None:
    async with byte_server(saying(b"ok")) as fake:
        async with running(server(fake.port, f"{before}:{unused_tcp_port}")) as program:
            with pytest.raises(ConfigError) as refused:
                await program.change(server(fake.port, f"{after}:{unused_tcp_port}"))
            assert refused.value.message == (
                f"listen = {after}:{unused_tcp_port}: port {unused_tcp_port} is this proxy's own, at "
                f"{before}:{unused_tcp_port}."
            )
            assert "start it again" in refused.value.hint
            assert 200 == await create(tool, program.urls[0])


async def test_servers_come_and_go(tool: ClientSession) -> None:
    async with byte_server(saying(b"one")) as one, byte_server(saying(b"two")) as two:
        async with running(server(one.port)) as program:
            first = program.urls[0]
            await program.change(server(one.port), server(two.port))
            second = program.urls[1]
            assert [second] == program.announced
            assert (b"one", b"two") == (await ask(tool, first), await ask(tool, second))
            await program.change(server(two.port))
            assert [second] == program.urls
            assert b"two" == await ask(tool, second)
            await one.until_closed()
            with pytest.raises(OSError, match="onnect"):
                await ask(tool, first)
            assert f"127.0.0.1:{one.port}" not in program.metrics


async def test_listener_that_goes_lets_its_exchanges_end(tool: ClientSession, unused_tcp_port: int) -> None:
    asked, released = asyncio.Event(), asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.head()
        asked.set()
        await released.wait()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")

    async with byte_server(slow) as fake, running(server(fake.port)) as program:
        request = asyncio.create_task(ask(tool, program.urls[0]))
        await asked.wait()
        await program.change(server(fake.port, f"127.0.0.1:{unused_tcp_port}"))
        released.set()
        assert b"late" == await request
        assert [f"http://127.0.0.1:{unused_tcp_port}"] == program.urls == program.announced
        assert "" == await program.servers.watches[0].unready()


async def test_settings_that_hold_from_the_start_are_named() -> None:
    async with byte_server(saying(b"ok")) as fake, running(server(fake.port)) as program:
        program.process = {"log_level": "debug"}
        told = await program.change(server(fake.port))

    assert "The settings were read again. log_level holds from the next start." == told


async def test_process_that_stops_takes_no_settings() -> None:
    async with byte_server(saying(b"ok")) as fake, running(server(fake.port)) as program:
        program.stop.ask()
        with pytest.raises(ProxyUnavailable, match="stopping"):
            await program.change(server(fake.port))


@asynccontextmanager
async def signed_in(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Sandbox, Settings]]:
    async with Sandbox(patients=1) as sandbox:
        ca_file = tmp_path_factory.mktemp("ca") / "ca.pem"
        ca_file.write_bytes(sandbox.tenant.ca_pem)
        yield (
            sandbox,
            {
                "base_url": sandbox.fhir.base_url,
                "listen": "127.0.0.1:0",
                "auth": "client-secret",
                "authority": sandbox.tenant.authority,
                "client_id": SERVICE.client_id,
                "client_secret": SECRET,
                "ca_bundle": str(ca_file),
            },
        )


async def test_sign_in_stays_where_its_settings_do(
    tool: ClientSession, tmp_path_factory: pytest.TempPathFactory, unused_tcp_port: int
) -> None:
    async with signed_in(tmp_path_factory) as (sandbox, settings), running(settings) as program:
        await ask(tool, program.urls[0], "/Patient")
        for changed in (
            {"policy": "read-only"},
            {"read_timeout": 3},
            {"listen": f"127.0.0.1:{unused_tcp_port}"},
        ):
            await program.change({**settings, **changed})
            assert program.servers.watches[0].is_signed_in
            assert b"Bundle" in await ask(tool, program.urls[0], "/Patient")
            assert program.urls == [watch.local_url for watch in program.servers.watches]
        assert 1 == len(sandbox.tenant.token_requests)
        assert f'tokens_total{{server="{sandbox.fhir.base_url}"}} 1.0' in program.metrics

        await program.change({**settings, "sign_in_wait": 7})
        await ask(tool, program.urls[0], "/Patient")
        assert 2 == len(sandbox.tenant.token_requests)


async def test_sign_ins_change_places_with_their_servers(
    tool: ClientSession, tmp_path_factory: pytest.TempPathFactory, unused_tcp_port_factory: Callable[[], int]
) -> None:
    places = [f"127.0.0.1:{unused_tcp_port_factory()}" for _ in range(2)]
    async with signed_in(tmp_path_factory) as (one, first), signed_in(tmp_path_factory) as (two, second):
        pair = (first, second)
        async with running(
            *({**settings, "listen": place} for settings, place in zip(pair, places, strict=True))
        ) as program:
            for url in program.urls:
                await ask(tool, url, "/Patient")
            await program.change(
                *(
                    {**settings, "listen": place}
                    for settings, place in zip(pair, reversed(places), strict=True)
                )
            )
            for url in program.urls:
                assert b"Bundle" in await ask(tool, url, "/Patient")

    assert [1, 1] == [len(sandbox.tenant.token_requests) for sandbox in (one, two)]


async def test_token_file_may_change_with_or_without_a_reload(
    tool: ClientSession, tmp_path_factory: pytest.TempPathFactory, unused_tcp_port: int
) -> None:
    file = tmp_path_factory.mktemp("token") / "token"
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            head = await peer.head()
            seen.append(head.partition(b"Authorization: ")[2].partition(b"\r\n")[0])
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with byte_server(script) as fake:
        settings = server(
            fake.port, f"127.0.0.1:{unused_tcp_port}", auth="token", token_file=str(file), audience="x"
        )
        file.write_text("first")
        async with running(settings) as program:
            await ask(tool, program.urls[0])
            file.write_text("another")
            await program.change(settings)
            await ask(tool, program.urls[0])

    assert [b"Bearer first", b"Bearer another"] == seen


async def test_renewed_authority_is_trusted_after_a_reload(
    tool: ClientSession, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    before, after = trustme.CA(), trustme.CA()
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    after.issue_cert("127.0.0.1").configure_cert(served)
    before.cert_pem.write_to_path(file)
    async with byte_server(saying(b"ok"), served) as fake:
        settings = {**server(fake.port, ca_bundle=str(file)), "base_url": f"https://127.0.0.1:{fake.port}"}
        async with running(settings) as program:
            assert b"is not trusted" in await ask(tool, program.urls[0])
            after.cert_pem.write_to_path(file)
            await program.change(settings)
            assert b"ok" == await ask(tool, program.urls[0])
