from __future__ import annotations

import io
import json
import logging
from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import ClientSession, DummyCookieJar

from proxy.cli.logs import LIBRARIES, set_up_logging

from .fakes.byte_server import Peer, byte_server
from .running import proxy_before


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    loggers = [logging.getLogger(name) for name in ("", "proxy", *LIBRARIES)]
    levels = [logger.level for logger in loggers]
    handlers = loggers[0].handlers[:]
    stream = io.StringIO()
    set_up_logging("info", "json", stream)
    yield stream
    loggers[0].handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture
async def tool() -> AsyncIterator[ClientSession]:
    async with ClientSession(cookie_jar=DummyCookieJar()) as session:
        yield session


class Echo:
    """Keeps the heads of requests; answers with these field lines."""

    def __init__(self, *lines: bytes) -> None:
        self.lines = lines
        self.heads: list[bytes] = []

    async def __call__(self, peer: Peer) -> None:
        while True:
            head = await peer.head()
            self.heads.append(head)
            if b"ontent-Length: 8\r\n" in head:
                await peer.exactly(8)
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n%b\r\nok" % b"".join(self.lines))


def lines(log: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


async def test_line_tells_an_exchange_by_fields_and_no_patient(tool: ClientSession, log: io.StringIO) -> None:
    server = Echo()
    async with byte_server(server) as fake, proxy_before(f"http://127.0.0.1:{fake.port}") as proxy:
        fields = {"X-Request-Id": "abc-1", "Content-Type": "application/x-www-form-urlencoded"}
        async with tool.post(f"{proxy.url}/Patient/_search", data=b"name=Ada", headers=fields) as response:
            assert response.headers["X-Request-Id"] == "abc-1"
        authority = f"127.0.0.1:{fake.port}"

    (line,) = lines(log)
    milliseconds = line.pop("milliseconds")
    assert isinstance(milliseconds, float)
    assert str(line.pop("time")).endswith("+00:00")
    assert str(line.pop("message")).startswith("search-type Patient 200 2B ")
    assert line == {
        "level": "info",
        "logger": "proxy.forwarding",
        "server": authority,
        "interaction": "search-type Patient",
        "status": 200,
        "bytes_in": 8,
        "bytes_out": 2,
        "attempts": 1,
        "request_id": "abc-1",
    }
    assert "Ada" not in log.getvalue()


async def test_id_is_made_sent_up_returned_and_logged(tool: ClientSession, log: io.StringIO) -> None:
    server = Echo()
    async with byte_server(server) as fake, proxy_before(f"http://127.0.0.1:{fake.port}") as proxy:
        async with tool.get(f"{proxy.url}/Patient/1", headers={"traceparent": "00-1-2-01"}) as response:
            made = response.headers["X-Request-Id"]

    assert f"\r\nX-Request-Id: {made}\r\n".encode() in server.heads[0]
    assert b"\r\ntraceparent: 00-1-2-01\r\n" in server.heads[0]
    assert [line["request_id"] for line in lines(log)] == [made]


async def test_servers_own_id_is_what_the_tool_sees(tool: ClientSession, log: io.StringIO) -> None:
    server = Echo(b"X-Request-Id: theirs\r\n")
    async with byte_server(server) as fake, proxy_before(f"http://127.0.0.1:{fake.port}") as proxy:
        async with tool.get(f"{proxy.url}/Patient/1") as response:
            assert response.headers.getall("X-Request-Id") == ["theirs"]


async def test_refusal_has_an_id_and_its_line_nothing_that_was_sent(
    tool: ClientSession, log: io.StringIO
) -> None:
    async with proxy_before("http://127.0.0.1:9") as proxy:
        fields = {"X-Request-Id": "Ada Lovelace"}
        async with tool.delete(f"{proxy.url}/Patient/Ada?name=Ada\\", headers=fields) as response:
            assert response.headers["X-Request-Id"] == "Ada Lovelace"

    (line,) = lines(log)
    assert (line["level"], line["status"]) == ("warning", 502)
    assert "Ada" not in log.getvalue()
