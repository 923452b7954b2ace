from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, DummyCookieJar

from proxy.auth import Seams
from proxy.errors import ProxyUnavailable
from proxy.model import Fields, ResponseHead
from proxy.pacing import Pacing, Turn
from proxy.patience import turn_of

from .fakes.byte_server import Peer, byte_server
from .fakes.clock import FakeClock
from .running import NoBrowser, proxy_before

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 429 Slow Down\r\nRetry-After: 5\r\nContent-Length: 4\r\n\r\nbusy"
LATER = b"HTTP/1.1 503 Later\r\nx-ms-retry-after-ms: 2000\r\nContent-Length: 4\r\n\r\nbusy"
MAINTENANCE = b"HTTP/1.1 503 Closed\r\nRetry-After: 3600\r\nContent-Length: 4\r\n\r\nbusy"
UNTOLD = b"HTTP/1.1 503 Closed\r\nContent-Length: 4\r\n\r\nbusy"


class Saying:
    """A server that gives these answers one by one, then 200 for ever, and keeps request lines and bodies."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = deque(answers)
        self.requests: list[tuple[str, bytes]] = []

    async def __call__(self, peer: Peer) -> None:
        while True:
            lines = (await peer.head()).split(b"\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in lines[1:] if line)
            body = await peer.exactly(int(fields.get(b"content-length", b"0")))
            self.requests.append((lines[0].decode(), body))
            await peer.send(self.answers.popleft() if self.answers else OK)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def tool() -> AsyncIterator[ClientSession]:
    async with ClientSession(cookie_jar=DummyCookieJar()) as session:
        yield session


def seams(clock: FakeClock) -> Seams:
    return Seams(clock=clock, browser=NoBrowser(), tell=lambda line: None, attended=False)


Told = tuple[int, str | None, bytes]


async def ask(tool: ClientSession, url: str, method: str = "GET", **given: object) -> Told:
    async with tool.request(method, url, **given) as response:  # type: ignore[arg-type]
        attempts = response.headers.get("X-Fhir-Auth-Proxy-Attempts")
        return response.status, attempts, await response.read()


REPEATED = [
    ("GET", "/Patient?name=a", None, {}),
    ("POST", "/Patient/_search", b"name=a", {"Content-Type": "application/x-www-form-urlencoded"}),
    ("PUT", "/Patient/1", b'{"resourceType":"Patient"}', {"Content-Type": "application/fhir+json"}),
    ("POST", "/Patient", b"{}", {"If-None-Exist": "identifier=1"}),
    ("DELETE", "/Patient/1", None, {}),
]


@pytest.mark.parametrize(("method", "path", "body", "fields"), REPEATED)
async def test_what_is_safe_is_sent_again_when_the_server_says_so(
    tool: ClientSession, clock: FakeClock, method: str, path: str, body: bytes | None, fields: dict[str, str]
) -> None:
    server = Saying(BUSY, LATER)
    async with (
        byte_server(server) as fake,
        proxy_before(f"http://127.0.0.1:{fake.port}", seams(clock)) as proxy,
    ):
        answer = asyncio.create_task(ask(tool, proxy.url + path, method, data=body, headers=fields))
        await clock.slept_times(1)
        assert 5 <= clock.sleeps[0] <= 6.25
        clock.advance(clock.sleeps[0])
        await clock.slept_times(2)
        assert 2 <= clock.sleeps[1] <= 2.5
        clock.advance(clock.sleeps[1])

        assert await answer == (200, "3", b"ok")
        assert fake.accepted == 1

    assert server.requests == [(f"{method} {path} HTTP/1.1", body or b"")] * 3


NOT_REPEATED = [
    (BUSY, "POST", "/Patient", b"{}", {}),
    (BUSY, "POST", "/", b"{}", {}),
    (BUSY, "PATCH", "/Patient/1", b"{}", {}),
    (BUSY, "PUT", "/Binary/1", b"x" * 600_000, {}),
    (BUSY, "GET", "/$export", None, {}),
    (MAINTENANCE, "GET", "/Patient", None, {}),
    (UNTOLD, "GET", "/Patient", None, {}),
    (BUSY, "GET", "/Patient", None, {"retry": "off"}),
    (BUSY, "GET", "/Patient", None, {"retry_wait": 4}),
]


@pytest.mark.parametrize(("said", "method", "path", "body", "settings"), NOT_REPEATED)
async def test_other_refusals_are_the_tools_to_see(
    tool: ClientSession,
    clock: FakeClock,
    said: bytes,
    method: str,
    path: str,
    body: bytes | None,
    settings: dict[str, object],
) -> None:
    server = Saying(said)
    async with (
        byte_server(server) as fake,
        proxy_before(f"http://127.0.0.1:{fake.port}", seams(clock), **settings) as proxy,
    ):
        headers = {"Content-Type": "application/pdf"}
        answer = await ask(tool, proxy.url + path, method, data=body, headers=headers)

    assert answer == (int(said[9:12]), None, b"busy")
    assert (len(server.requests), clock.sleeps) == (1, [])


async def test_one_pause_holds_every_client_and_a_plain_create_is_sent_once(
    tool: ClientSession, clock: FakeClock
) -> None:
    server = Saying(BUSY)
    async with (
        byte_server(server) as fake,
        proxy_before(f"http://127.0.0.1:{fake.port}", seams(clock)) as proxy,
    ):
        first = asyncio.create_task(ask(tool, proxy.url + "/Patient"))
        await clock.slept_times(1)
        second = asyncio.create_task(ask(tool, proxy.url + "/Patient", "POST", data=b"{}"))
        await clock.slept_times(2)
        assert len(server.requests) == 1
        clock.advance(10)

        assert await asyncio.gather(first, second) == [(200, "2", b"ok"), (200, None, b"ok")]

    assert sorted(line for line, _ in server.requests) == [
        "GET /Patient HTTP/1.1",
        "GET /Patient HTTP/1.1",
        "POST /Patient HTTP/1.1",
    ]


async def test_waiting_has_an_end(tool: ClientSession, clock: FakeClock) -> None:
    server = Saying(*[BUSY] * 9)
    async with (
        byte_server(server) as fake,
        proxy_before(f"http://127.0.0.1:{fake.port}", seams(clock), retry_wait=9) as proxy,
    ):
        answer = asyncio.create_task(ask(tool, proxy.url + "/Patient"))
        await clock.slept_times(1)
        clock.advance(9)
        status, attempts, body = await answer

    assert (status, attempts, body, len(server.requests)) == (429, "2", b"busy", 2)
    assert len(clock.sleeps) == 1


async def test_budget_bounds_what_is_sent_again(tool: ClientSession, clock: FakeClock) -> None:
    answers = [BUSY.replace(b"Retry-After: 5", b"Retry-After: 0")] * 100
    server = Saying(*answers)
    async with (
        byte_server(server) as fake,
        proxy_before(f"http://127.0.0.1:{fake.port}", seams(clock)) as proxy,
    ):
        answer = asyncio.create_task(ask(tool, proxy.url + "/Patient"))
        while not answer.done():
            clock.advance(1)
            await asyncio.sleep(0)
        status, attempts, _ = await answer

    assert (status, len(server.requests) <= 13) == (429, True)
    assert attempts == str(len(server.requests))


# The waiting room ---------------------------------------------------------------------------------------------------


def head(status: int, **fields: str) -> ResponseHead:
    return ResponseHead(
        status, b"", Fields.of((name.replace("_", "-"), text) for name, text in fields.items())
    )


async def limited(clock: FakeClock) -> Pacing:
    """A waiting room where one request at a time may go."""
    pacing = Pacing(clock, 20.0, spread=lambda: 0.0)
    turn = await turn_of(pacing, pacing.patience())
    turn.answered(head(429, Retry_After="1"))
    turn.end()
    clock.advance(1)
    return pacing


async def settled() -> None:
    """Let every task run as far as it gets."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_limit_lets_them_go_one_by_one_in_order(clock: FakeClock) -> None:
    pacing = await limited(clock)
    gone: list[int] = []

    async def go(number: int) -> Turn:
        turn = await turn_of(pacing, pacing.patience())
        gone.append(number)
        return turn

    tasks = [asyncio.create_task(go(number)) for number in range(3)]
    await settled()
    assert gone == [0]
    (await tasks[0]).end()
    await settled()
    assert gone == [0, 1]
    turn = await tasks[1]
    for _ in range(3):
        turn.answered(head(200))
    turn.end()
    await settled()

    assert gone == [0, 1, 2]


async def test_limit_that_has_grown_lets_more_go_at_once(clock: FakeClock) -> None:
    pacing = await limited(clock)
    first = await turn_of(pacing, pacing.patience())
    others = [asyncio.create_task(turn_of(pacing, pacing.patience())) for _ in range(3)]
    await settled()
    for _ in range(5):
        first.answered(head(200))
    first.end()
    await settled()

    assert [task.done() for task in others] == [True, True, True]


async def test_who_leaves_passes_the_turn_on(clock: FakeClock) -> None:
    pacing = await limited(clock)
    first = await turn_of(pacing, pacing.patience())
    leaver, waiter = [asyncio.create_task(turn_of(pacing, pacing.patience())) for _ in range(2)]
    await settled()
    first.end()
    leaver.cancel()
    await settled()

    assert (leaver.cancelled(), waiter.done()) == (True, True)


async def test_who_waits_too_long_for_room_is_told_when_to_come_again(clock: FakeClock) -> None:
    pacing = await limited(clock)
    await turn_of(pacing, pacing.patience())
    waiter = asyncio.create_task(turn_of(pacing, pacing.patience()))
    await settled()
    clock.advance(20)

    with pytest.raises(ProxyUnavailable) as told:
        await waiter
    assert told.value.retry_after == 1


async def test_pause_longer_than_the_patience_left_is_told(clock: FakeClock) -> None:
    pacing = await limited(clock)
    patience = pacing.patience()
    patience.seconds = 3.0
    turn = await turn_of(pacing, pacing.patience())
    turn.answered(head(503, Retry_After="7"))
    turn.end()

    with pytest.raises(ProxyUnavailable) as told:
        await turn_of(pacing, patience)
    assert told.value.retry_after == 7


async def test_without_pauses_nobody_waits(clock: FakeClock) -> None:
    pacing = Pacing(clock, None)
    turns = [await turn_of(pacing, pacing.patience()) for _ in range(3)]

    assert turns[0].answered(head(429, Retry_After="1")) is None
    await turn_of(pacing, pacing.patience())
    assert clock.sleeps == []
