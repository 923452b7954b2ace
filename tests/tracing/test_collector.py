"""The way to the collector: one that is well, down, slow, silent, or that settings miss."""

from __future__ import annotations

import asyncio
import logging
import ssl
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from aiohttp import ClientSession, DummyCookieJar

from proxy import __version__
from proxy.config import Config
from proxy.errors import ConfigError
from proxy.tracing import collector as collector_room
from proxy.tracing import tracing

from ..fakes.byte_server import Peer, byte_server
from ..fakes.otlp_collector import otlp_collector
from .ground import Answering, base, otel, program, servers_of


@pytest.fixture
async def tool() -> AsyncIterator[ClientSession]:
    async with ClientSession(cookie_jar=DummyCookieJar()) as session:
        yield session


def unanswering(port: int) -> str:
    return (
        f"proxy.tracing.collector: Traces are lost: the collector at http://127.0.0.1:{port} "
        "cannot be reached, or does not answer."
    )


class Log(logging.Handler):
    """What is logged from a warning on, by whomever; `said` is set with the first."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self.said = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name}: {record.getMessage()}")
        self._loop.call_soon_threadsafe(self.said.set)


@pytest.fixture
async def log() -> AsyncIterator[Log]:
    handler = Log()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


async def ask(tool: ClientSession, url: str) -> None:
    async with tool.get(f"{url}/Patient/1") as answer:
        assert 200 == answer.status


async def test_batches_come_with_the_headers_and_the_name_that_opentelemetrys_variables_say(
    tool: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with otlp_collector() as collector, byte_server(Answering()) as fake:
        otel(
            monkeypatch,
            collector.url + "/",
            OTEL_EXPORTER_OTLP_HEADERS="x-key=a%20b",
            OTEL_EXPORTER_OTLP_TRACES_COMPRESSION="gzip",
            OTEL_SERVICE_NAME="ward",
        )
        async with program(base(fake.port)) as running:
            await ask(tool, running.proxies[0].url)
            await collector.until_asked(1)
            assert "read Patient" in [span.name for span in collector.spans]

    assert {"a b"} == {fields["x-key"] for fields in collector.fields}
    assert {"gzip"} == {fields["content-encoding"] for fields in collector.fields}
    (resource,) = collector.resources
    assert ("ward", __version__) == (resource["service.name"], resource["service.version"])


async def test_service_is_named_after_the_program(
    tool: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with otlp_collector() as collector, byte_server(Answering()) as fake:
        otel(
            monkeypatch, "http://127.0.0.1:1", OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{collector.url}/v1/traces"
        )
        async with program(base(fake.port)) as running:
            await ask(tool, running.proxies[0].url)

    assert "fhir-auth-proxy" == collector.resources[0]["service.name"]


async def test_collector_that_is_down_costs_one_warning_and_no_request(
    tool: ClientSession, monkeypatch: pytest.MonkeyPatch, log: Log, unused_tcp_port: int
) -> None:
    otel(monkeypatch, f"http://key@127.0.0.1:{unused_tcp_port}/key", OTEL_EXPORTER_OTLP_TIMEOUT="0.01")
    async with byte_server(Answering()) as fake, program(base(fake.port)) as running:
        await ask(tool, running.proxies[0].url)
        await log.said.wait()
        for _ in range(5):
            await ask(tool, running.proxies[0].url)

    assert [unanswering(unused_tcp_port)] == log.lines


async def test_collector_that_refuses_for_a_while_is_warned_about_once(
    tool: ClientSession,
    monkeypatch: pytest.MonkeyPatch,
    log: Log,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with otlp_collector(400, 401, 400) as collector, byte_server(Answering()) as fake:
        otel(monkeypatch, collector.url)
        async with program(base(fake.port)) as running:
            for times in range(1, 5):
                await ask(tool, running.proxies[0].url)
                await collector.until_asked(times)

    assert [
        f"proxy.tracing.collector: Traces are lost: the collector at {collector.url} answers 400."
    ] == log.lines
    assert [f"The collector at {collector.url} takes traces again."] == [
        record.message for record in caplog.records if record.name == "proxy.tracing.collector"
    ][1:]
    assert "read Patient" in [span.name for span in collector.spans]


async def test_collector_that_hangs_holds_up_neither_a_request_nor_a_stop(
    tool: ClientSession, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    asked = asyncio.Event()

    async def hanging(peer: Peer) -> None:
        await peer.head()
        asked.set()
        await peer.rest()

    async with byte_server(hanging) as collector, byte_server(Answering()) as fake:
        otel(monkeypatch, f"http://127.0.0.1:{collector.port}", OTEL_EXPORTER_OTLP_TIMEOUT="3600")
        async with program(base(fake.port), stop_cut=True) as running:
            await ask(tool, running.proxies[0].url)
            await asked.wait()
            for _ in range(5):
                await ask(tool, running.proxies[0].url)

        assert [unanswering(collector.port)] == log.lines


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n"])
async def test_delivery_at_a_stop_has_an_end_of_its_own(
    tool: ClientSession, monkeypatch: pytest.MonkeyPatch, log: Log, first: bytes
) -> None:
    monkeypatch.setattr(collector_room, "LAST_TRY", 0.01)
    monkeypatch.setattr(collector_room, "LONGEST_DELIVERY", 0.01 if not first else 3600.0)

    async def hanging(peer: Peer) -> None:
        if first:
            await peer.head()
            await peer.send(first)

    async with byte_server(hanging) as collector, byte_server(Answering()) as fake:
        otel(monkeypatch, f"http://127.0.0.1:{collector.port}", OTEL_EXPORTER_OTLP_TIMEOUT="3600")
        async with program(base(fake.port), drain_timeout=3600) as running:
            await ask(tool, running.proxies[0].url)
            if first:
                await log.said.wait()
                await ask(tool, running.proxies[0].url)

        assert 1 == len(log.lines)


async def test_exchange_that_ends_in_the_drain_is_delivered(
    tool: ClientSession, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    asked, released = asyncio.Event(), asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.head()
        asked.set()
        await released.wait()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with otlp_collector() as collector, byte_server(slow) as fake:
        otel(monkeypatch, collector.url, OTEL_BSP_SCHEDULE_DELAY="3600000")
        async with program(base(fake.port)) as running:
            asking = asyncio.create_task(ask(tool, running.proxies[0].url))
            await asked.wait()
            stopping = asyncio.create_task(running.stop(asyncio.Event()))
            released.set()
            await asking
            await stopping
            assert ["GET", "read Patient"] == [span.name for span in collector.spans]
    assert [] == log.lines


async def test_collector_is_trusted_as_the_system_trusts(
    tool: ClientSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, log: Log
) -> None:
    authority = trustme.CA()
    bundle = str(tmp_path / "ca.pem")
    authority.cert_pem.write_to_path(bundle)
    heads = Answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    for variable in ("REQUESTS_CA_BUNDLE", "OTEL_EXPORTER_OTLP_CERTIFICATE"):
        async with byte_server(heads, context) as collector, byte_server(Answering()) as fake:
            otel(monkeypatch, f"https://127.0.0.1:{collector.port}", **{variable: bundle})
            async with program(base(fake.port)) as running:
                await ask(tool, running.proxies[0].url)
        monkeypatch.delenv(variable)
    assert 2 <= len(heads.heads)
    assert [] == log.lines


TRACED = Config.of({"server": [{"base_url": "https://fhir.example", "auth": "anonymous"}], "traces": "otlp"})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "unix:///run/otel"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://[::1"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:port/v1/traces"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "-1"),
    ],
)
async def test_variables_that_cannot_work_are_named_at_the_start(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    otel(monkeypatch, "http://127.0.0.1:1", **{variable: value})

    with pytest.raises(ConfigError, match=variable[:8]) as raised:
        async with program({"base_url": "https://fhir.example"}):
            pass
    assert value not in raised.value.message


def test_missing_extra_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "proxy.tracing.collector", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)

    with pytest.raises(ConfigError, match="needs OpenTelemetry's SDK") as raised:
        tracing(TRACED)
    assert "fhir-auth-proxy[otel]" in raised.value.hint


def test_missing_extra_is_told_with_what_else_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "proxy.tracing.collector", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    server = TRACED.servers[0].replace(ca_bundle="/nowhere/ca")

    with pytest.raises(ConfigError, match=r"(?s)OpenTelemetry.*/nowhere/ca"):
        servers_of(TRACED.replace(servers=(server,)))


def test_nothing_of_opentelemetry_is_imported_where_nobody_asks_for_traces() -> None:
    program = """
        import asyncio, sys
        sys.modules["opentelemetry"] = sys.modules["google"] = None  # whoever imports them fails
        from tests.fakes.byte_server import byte_server
        from tests.tracing.ground import Answering, base, program
        from aiohttp import ClientSession

        async def main():
            server = Answering()
            async with byte_server(server) as fake, program(base(fake.port), traces="off") as running:
                fields = {"traceparent": "Ada", "tracestate": "b"}
                async with ClientSession() as tool:
                    async with tool.get(f"{running.proxies[0].url}/Patient/1", headers=fields) as answer:
                        assert answer.status == 200
                assert (server.lines(b"traceparent"), server.lines(b"tracestate")) == ([b"Ada"], [b"b"])
            import proxy.cli.run
            assert [name for name in sys.modules if name.startswith("proxy.tracing")] == ["proxy.tracing"]

        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False
    )
    assert (0, "") == (done.returncode, done.stderr)
