from __future__ import annotations

import copy
import io
import json
import logging
from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import ClientSession, DummyCookieJar

from proxy.cli.logs import LIBRARIES, set_up_logging
from proxy.errors import UpstreamUnreachable
from proxy.exchange_lines import is_plain
from proxy.exchange_log import ExchangeRecord, log_exchange
from proxy.model import Classified, FinishedExchange, Interaction

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


def test_another_handler_gets_a_record(log: io.StringIO) -> None:
    heard: list[logging.LogRecord] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record)

    ear = Ear()
    for name in ("", "proxy", "proxy.forwarding"):
        logging.getLogger(name).addHandler(ear)
        try:
            log_exchange(FINISHED, "fhir.example")
        finally:
            logging.getLogger(name).removeHandler(ear)
    log_exchange(FINISHED, "fhir.example")

    assert 3 == len(heard)
    assert 4 == len(lines(log))
    assert len({json.dumps(line | {"time": ""}) for line in lines(log)}) == 1


SEARCH = Classified(Interaction.SEARCH_TYPE, "Patient")
FINISHED = FinishedExchange(SEARCH, 200, 8, 2, 0.01234, 0.01, 1, "abc-1", None)
FAILED = FinishedExchange(SEARCH, 502, 8, 0, 0.01234, None, 1, "abc-1", UpstreamUnreachable("It is away"))


@pytest.mark.parametrize(
    ("exchange", "level", "message"),
    [
        (FINISHED, "INFO", "search-type Patient 200 2B 12ms (in=8B attempts=1 id=abc-1 server=fhir.example)"),
        (
            FAILED,
            "WARNING",
            "search-type Patient 502 0B 12ms: It is away (in=8B attempts=1 id=abc-1 server=fhir.example)",
        ),
    ],
)
def test_record_is_as_others_to_every_handler(
    caplog: pytest.LogCaptureFixture, exchange: FinishedExchange, level: str, message: str
) -> None:
    caplog.set_level(logging.INFO, "proxy")
    log_exchange(exchange, "fhir.example")
    (record,) = caplog.records

    assert (record.levelno, record.levelname) == (getattr(logging, level), level)
    assert caplog.record_tuples == [("proxy.forwarding", record.levelno, message)]
    assert caplog.text.split(maxsplit=1)[0] == level
    assert record.fields == copy.copy(record).fields  # type: ignore[attr-defined]  (a record of exchanges)


def test_record_has_what_records_have() -> None:
    before = logging.makeLogRecord({})
    record = ExchangeRecord(FINISHED, "fhir.example")
    after = logging.makeLogRecord({})

    assert vars(record).keys() == vars(before).keys()
    assert before.created <= record.created <= after.created
    # The clock of a record has its beginning to a microsecond.
    assert before.relativeCreated - 1 < record.relativeCreated < after.relativeCreated + 1
    assert abs(record.msecs - record.created % 1 * 1000) <= 1


def test_record_of_one_exchange_leaves_those_of_others_alone() -> None:
    failed = ExchangeRecord(FAILED, "fhir.example")
    finished = ExchangeRecord(FINISHED, "fhir.example")

    assert (failed.levelname, finished.levelname) == ("WARNING", "INFO")


def test_level_decides_which_exchanges_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "proxy")
    log_exchange(FINISHED, "fhir.example")
    log_exchange(FAILED, "fhir.example")

    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize(
    ("request_id", "plain"),
    [
        ("abc-1", True),
        ("0123456789abcdef0123456789abcdea", True),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.", False),
        ("a-Basic", False),
        ("Bearer", False),
    ],
)
def test_id_that_could_be_part_of_a_token_is_not_plain(request_id: str, plain: bool) -> None:
    exchange = FinishedExchange(SEARCH, 200, 8, 2, 0.01234, 0.01, 1, request_id, None)

    assert plain == is_plain(exchange)
