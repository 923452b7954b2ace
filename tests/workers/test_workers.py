from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession, web

from proxy.open_files import raise_limit
from proxy.sandbox import Sandbox
from proxy.sandbox.tenant import SECRET, SERVICE, Resource

from ..fakes.byte_server import Peer, Script, byte_server
from .crew import Crew, Load, anonymous, gone, read, serving, signed_in, started, stopped, tools

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are for Linux")


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("settings")


class Server:
    """A FHIR server that wants a token, and refuses those in `refused`."""

    def __init__(self) -> None:
        self.base_url = ""
        self.tokens: Counter[str] = Counter()
        self.refused: set[str] = set()

    async def answer(self, request: web.BaseRequest) -> web.Response:
        token = request.headers.get("Authorization", "")
        self.tokens[token] += 1
        if not token or token in self.refused:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
        return web.json_response({"resourceType": "Patient", "id": "1"})


@asynccontextmanager
async def server_of(sandbox: Sandbox) -> AsyncIterator[Server]:
    server = Server()
    runner = web.ServerRunner(web.Server(server.answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    server.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    sandbox.tenant.register(Resource(server.base_url, app_roles={SERVICE.client_id: ("globalAdmin",)}))
    try:
        yield server
    finally:
        await runner.cleanup()


def sockets(pid: int) -> int:
    """How many sockets a process has open."""
    descriptors = Path(f"/proc/{pid}/fd")
    return sum(os.readlink(descriptors / name).startswith("socket:") for name in os.listdir(descriptors))


@pytest.mark.parametrize("number", [2, 4])
async def test_thousand_first_requests_of_all_workers_cost_one_token(folder: Path, number: int) -> None:
    raise_limit(4096)
    async with Sandbox(patients=1) as sandbox, server_of(sandbox) as server, tools() as tool:
        file = signed_in(folder, sandbox, server.base_url, workers=number)
        async with serving(file) as crew:
            before = {pid: sockets(pid) for pid in crew.workers}
            answers = await asyncio.gather(*(read(tool, crew.url) for _ in range(1000)))
            served = [sockets(pid) - count for pid, count in before.items()]

            assert {200: 1000} == Counter(answers)
            assert number == len(served)
            assert all(count > 1000 / number / 2 for count in served)
            assert 1 == len(sandbox.tenant.token_requests)
            assert 1000 == await crew.metric(tool, "exchanges_total")
            assert 1 == await crew.metric(tool, "tokens_total")
            assert 1000 == await crew.metric(tool, "client_connections")

            server.refused |= set(server.tokens)
            answers = await asyncio.gather(*(read(tool, crew.url) for _ in range(1000)))

            assert {200: 1000} == Counter(answers)
            assert 2 == len(sandbox.tenant.token_requests)
            assert 2000 == await crew.metric(tool, "exchanges_total")
            assert 2 == await crew.metric(tool, "tokens_total")
            assert 0 == await stopped(crew)


async def test_sign_in_that_fails_is_told_by_every_worker_and_asked_for_once(folder: Path) -> None:
    async with Sandbox(patients=1) as sandbox, server_of(sandbox) as server, tools() as tool:
        file = signed_in(folder, sandbox, server.base_url)
        file.write_text(
            file.read_text("utf-8").replace("client_secret = '", "client_secret = 'wrong"), "utf-8"
        )
        async with serving(file) as crew:
            answers = await asyncio.gather(*(read(tool, crew.url) for _ in range(40)))
            failures = await crew.metric(tool, "sign_in_failures_total")
            async with tool.get(f"{crew.admin}/api/status") as response:
                problem = (await response.json())["servers"][0]["last_problem"]["message"]

    assert {502: 40} == Counter(answers)
    assert (1, 40) == (len(sandbox.tenant.token_requests), failures)
    assert "AADSTS7000215" in problem
    assert {""} >= set(server.tokens)


async def test_killed_worker_is_replaced_and_takes_only_its_own_connections_along(folder: Path) -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.head()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    async with byte_server(script) as server:
        async with serving(anonymous(folder, f"http://127.0.0.1:{server.port}")) as crew:
            victim, other = crew.workers
            load = Load(crew.url, 8)
            await load.answered(100)
            os.kill(victim, signal.SIGKILL)
            await crew.line("Worker", "was ended by SIGKILL; another one takes its place")
            await crew.line("Worker", "serves again")
            await load.answered(200)
            await load.end()

            assert [False, True, 2] == [victim in crew.workers, other in crew.workers, len(crew.workers)]
            assert {"200", "broken"} >= set(load.answers)
            assert 8 >= load.answers["broken"]
            assert 0 == await stopped(crew)


async def test_stop_drains_every_worker_and_a_second_one_cuts(folder: Path) -> None:
    asked, released = asyncio.Semaphore(0), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        asked.release()
        await released.wait()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")

    async def refusing(crew: Crew) -> None:
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", int(crew.url.rpartition(":")[2]))
            except OSError:
                return
            writer.close()
            await asyncio.sleep(0.01)

    async with byte_server(script) as server:
        file = anonymous(folder, f"http://127.0.0.1:{server.port}")
        for is_cut in (False, True):
            async with serving(file) as crew, tools() as tool:
                running = [asyncio.create_task(read(tool, crew.url)) for _ in range(30)]
                for _ in running:
                    await asked.acquire()
                crew.process.send_signal(signal.SIGTERM)
                await refusing(crew)
                assert not any(task.done() for task in running)
                async with ClientSession() as probe, probe.get(f"{crew.admin}/readyz") as response:
                    assert 503 == response.status
                if is_cut:
                    crew.process.send_signal(signal.SIGTERM)
                else:
                    released.set()
                outcomes = await asyncio.gather(*running, return_exceptions=True)
                assert 0 == await crew.ended()
            if is_cut:
                assert all(isinstance(outcome, ClientError) for outcome in outcomes)
            else:
                assert [200] * 30 == outcomes
            released.clear()


async def test_hangup_takes_new_settings_to_every_worker_without_a_failed_request(
    folder: Path, unused_tcp_port: int
) -> None:
    listen = f"127.0.0.1:{unused_tcp_port}"

    def saying(word: bytes) -> Script:
        async def script(peer: Peer) -> None:
            while True:
                await peer.head()
                await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + word)

        return script

    async def heard(tool: ClientSession, url: str) -> bytes:
        async with tool.get(f"{url}/Patient/1") as response:
            return await response.read()

    async with byte_server(saying(b"one")) as one, byte_server(saying(b"two")) as two, tools() as tool:
        async with serving(anonymous(folder, f"http://127.0.0.1:{one.port}", listen=listen)) as crew:
            words = {await heard(tool, crew.url)}
            for upstream, expected in ((two, b"two"), (one, b"one")):
                anonymous(folder, f"http://127.0.0.1:{upstream.port}", listen=listen)
                seen = len(crew.lines)
                crew.process.send_signal(signal.SIGHUP)
                told = asyncio.create_task(crew.line("The settings were read again", after=seen))
                while not told.done():
                    words.add(await heard(tool, crew.url))
                assert {expected} == set(await asyncio.gather(*(heard(tool, crew.url) for _ in range(30))))
            seen = len(crew.lines)
            anonymous(folder, f"http://127.0.0.1:{one.port}", listen=listen, retry="perhaps")
            crew.process.send_signal(signal.SIGHUP)
            await crew.line("The settings stay as they were", after=seen)
            assert b"one" == await heard(tool, crew.url)
            assert 0 == await stopped(crew)

    assert {b"one", b"two"} == words


async def test_token_for_one_server_never_goes_to_the_one_that_takes_its_place(
    folder: Path, unused_tcp_port: int
) -> None:
    listen = f"127.0.0.1:{unused_tcp_port}"
    async with Sandbox(patients=1) as sandbox, server_of(sandbox) as one, server_of(sandbox) as two:
        async with serving(signed_in(folder, sandbox, one.base_url, listen=listen)) as crew, tools() as tool:
            for server in (one, two, one):
                seen = len(crew.lines)
                signed_in(folder, sandbox, server.base_url, listen=listen)
                crew.process.send_signal(signal.SIGHUP)
                await crew.line("The settings were read again", after=seen)
                answers = await asyncio.gather(*(read(tool, crew.url) for _ in range(50)))
                assert {200: 50} == Counter(answers)
            async with tool.get(f"{crew.admin}/metrics") as response:
                metrics = await response.text()
            assert 0 == await stopped(crew)

    assert set() == set(one.tokens) & set(two.tokens)
    assert [100, 50] == [sum(server.tokens.values()) for server in (one, two)]
    assert 3 == len(sandbox.tenant.token_requests)
    assert [True, False] == [server.base_url in metrics for server in (one, two)]


async def test_worker_that_takes_another_ones_place_has_the_settings_that_hold_now(folder: Path) -> None:
    async with Sandbox(patients=1, is_open=True) as sandbox, tools() as tool:
        async with serving(anonymous(folder, sandbox.fhir.base_url)) as crew:
            anonymous(folder, sandbox.fhir.base_url, policy="read-only")
            crew.process.send_signal(signal.SIGHUP)
            await crew.line("The settings were read again")
            former = crew.workers
            for pid in former:
                os.kill(pid, signal.SIGKILL)
            await gone(former)
            await crew.line("takes its place")
            for place in (1, 2):
                await crew.line(f"Worker {place} serves again")
            async with tool.get(f"{crew.admin}/readyz") as response:
                assert 200 == response.status
            async with tool.post(f"{crew.url}/Patient", json={"resourceType": "Patient"}) as response:
                assert 403 == response.status


async def test_workers_end_with_their_supervisor(folder: Path) -> None:
    async with serving(anonymous(folder, "http://127.0.0.1:9")) as crew:
        workers = crew.workers
        crew.process.kill()
        await crew.ended()
        await gone(workers)

    assert 2 == len(workers)


async def test_signals_that_a_whole_group_gets_are_the_supervisors(folder: Path) -> None:
    async with serving(anonymous(folder, "http://127.0.0.1:9")) as crew, tools() as tool:
        workers = crew.workers
        for pid in workers:
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGINT)
        assert 502 == await read(tool, crew.url)
        assert workers == crew.workers
        assert 0 == await stopped(crew)


def visible(pid: int) -> bytes:
    """What others of the machine, or of the same user, see of a process."""
    return b"".join(Path(f"/proc/{pid}/{part}").read_bytes() for part in ("cmdline", "environ"))


async def test_each_line_of_the_log_is_whole_and_nothing_secret_is_where_others_see_it(folder: Path) -> None:
    async with Sandbox(patients=1) as sandbox, server_of(sandbox) as server, tools(40) as tool:
        file = signed_in(folder, sandbox, server.base_url, client_secret="")
        secret = {"FHIR_AUTH_PROXY_CLIENT_SECRET": SECRET}
        async with serving(file, "--log-format", "json", **secret) as crew:
            await asyncio.gather(*(read(tool, crew.url) for _ in range(400)))
            seen = b"".join(map(visible, crew.workers))
            assert 0 == await stopped(crew)
    secrets = [SECRET, *(token.partition(" ")[2] for token in server.tokens if token)]

    assert {True} == {line.startswith('{"time": "') and line.endswith("}\n") for line in crew.lines}
    assert 400 == sum('"status": 200' in line for line in crew.lines)
    assert [False, False] == [secret.encode() in seen for secret in secrets]


async def test_port_of_a_proxy_with_workers_is_taken_for_a_second_one(folder: Path) -> None:
    async with serving(anonymous(folder, "http://127.0.0.1:9")) as crew:
        listen = crew.url.removeprefix("http://")
        for number in (1, 2):
            file = anonymous(folder, "http://127.0.0.1:9", listen=listen, workers=number)
            async with started(file) as second:
                assert 2 == await second.ended()
            assert f"port {listen.rpartition(':')[2]} is taken" in "".join(second.lines)
