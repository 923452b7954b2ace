"""What a collector is told of exchanges, by a real run."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, DummyCookieJar
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.trace import get_current_span

from proxy.config import ServerConfig
from proxy.model import Fields
from proxy.sandbox import Sandbox
from proxy.sandbox.fhir.faults import RejectToken
from proxy.tracing.spans import parent_of

from ..fakes.byte_server import Peer, byte_server
from ..fakes.otlp_collector import Collector, Taken, otlp_collector
from ..running import app_settings
from .ground import PARENT, TOOL_SPAN, TRACE, Answering, base, otel, program

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
async def tool() -> AsyncIterator[ClientSession]:
    async with ClientSession(cookie_jar=DummyCookieJar()) as session:
        yield session


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    async with otlp_collector() as running:
        otel(monkeypatch, running.url)
        yield running


async def ask(tool: ClientSession, url: str, method: str = "GET", **fields: str) -> int:
    async with tool.request(method, url, headers=fields) as answer:
        await answer.read()
        return answer.status


def told(span: Taken) -> tuple[str, object, bool]:
    """Name, error and whether it counts as one."""
    return span.name, span.attributes.get("error.type"), span.is_error


async def test_search_that_signs_in_is_an_exchange_with_a_sign_in_and_an_attempt(
    tool: ClientSession, collector: Collector
) -> None:
    async with Sandbox(patients=2, base_path="/fhir") as sandbox:
        with app_settings(sandbox) as signed_in:
            async with program({"base_url": sandbox.fhir.base_url, **signed_in}) as running:
                url = running.proxies[0].url
                assert 200 == await ask(tool, f"{url}/Patient?name=Ada")
                assert 200 == await ask(tool, f"{url}/Observation")
        port = int(sandbox.fhir.base_url.split(":")[2].partition("/")[0])

    first, second = collector.exchanges
    assert first.trace_id != second.trace_id
    assert "" == first.parent_id
    assert "search-type Patient" == first.name
    assert 0 < first.attributes.pop("http.response.body.size")
    assert first.attributes == {
        "url.scheme": "http",
        "server.address": "127.0.0.1",
        "http.request.method": "GET",
        "http.request.body.size": 0,
        "http.response.status_code": 200,
        "fhir.interaction": "search-type",
        "fhir.resource_type": "Patient",
        "fhir_auth_proxy.attempts": 1,
        "fhir_auth_proxy.server": f"127.0.0.1:{port}",
    }
    sign_in, attempt = collector.steps(first)
    assert ("sign-in", "internal") == (sign_in.name, sign_in.kind)
    assert sign_in.attributes == {
        "fhir_auth_proxy.sign_in.method": "client-secret",
        "fhir_auth_proxy.sign_in.after_refusal": False,
    }
    assert ("GET", "client") == (attempt.name, attempt.kind)
    assert attempt.attributes == {
        "http.request.method": "GET",
        "server.address": "127.0.0.1",
        "server.port": port,
        "http.response.status_code": 200,
    }
    assert not any(span.is_error for span in (first, sign_in, attempt))
    begun, ended = first.nanoseconds
    assert begun <= sign_in.nanoseconds[0] <= sign_in.nanoseconds[1] <= attempt.nanoseconds[0]
    assert attempt.nanoseconds[1] <= ended
    # The token is held by now.
    assert "search-type Observation" == second.name
    assert ["GET"] == [step.name for step in collector.steps(second)]


async def test_tools_span_is_the_parent_and_ours_is_the_servers(
    tool: ClientSession, collector: Collector
) -> None:
    server = Answering()
    async with byte_server(server) as fake, program(base(fake.port)) as running:
        url = f"{running.proxies[0].url}/Patient/1"
        assert 200 == await ask(tool, url, traceparent=PARENT, tracestate="vendor=Lovelace")

    (exchange,) = collector.exchanges
    assert (TRACE, TOOL_SPAN) == (exchange.trace_id, exchange.parent_id)
    (attempt,) = collector.steps(exchange)
    assert [f"00-{TRACE}-{attempt.span_id}-01".encode()] == server.lines(b"traceparent")
    assert [b"vendor=Lovelace"] == server.lines(b"tracestate")
    assert b"Lovelace" not in b"".join(collector.bodies)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["00-1-2-01"],
        ["Ada Lovelace"],
        [PARENT.upper()],
        [PARENT + "-more"],
        [PARENT.replace(TRACE, "0" * 32)],
        [PARENT.replace(TOOL_SPAN, "0" * 16)],
        ["ff" + PARENT[2:]],
        [PARENT, PARENT],
        ["x" * 2000],
    ],
)
async def test_without_a_span_of_the_tool_that_can_be_read_a_trace_begins(
    tool: ClientSession, collector: Collector, lines: list[str]
) -> None:
    server = Answering()
    async with byte_server(server) as fake, program(base(fake.port)) as running:
        fields = [*(("traceparent", line) for line in lines), ("tracestate", "vendor=1")]
        async with tool.get(f"{running.proxies[0].url}/Patient/1", headers=fields) as answer:
            assert 200 == answer.status

    (exchange,) = collector.exchanges
    (attempt,) = collector.steps(exchange)
    assert ("", True) == (exchange.parent_id, exchange.trace_id != TRACE)
    (line,) = server.lines(b"traceparent")
    # Recorded, by an id that is random (Trace Context level 2, section 3.2.2.5).
    assert f"00-{exchange.trace_id}-{attempt.span_id}-03" == line.decode()
    # It belongs to the trace that is no more (W3C Trace Context section 3.3).
    assert [] == server.lines(b"tracestate")


async def test_trace_that_the_tool_does_not_record_is_not_recorded_here(
    tool: ClientSession, collector: Collector
) -> None:
    server = Answering()
    async with byte_server(server) as fake, program(base(fake.port)) as running:
        url = running.proxies[0].url
        assert 200 == await ask(tool, f"{url}/Patient/1", traceparent=PARENT[:-1] + "0")
        (line,) = server.lines(b"traceparent")
        assert 200 == await ask(tool, f"{url}/Observation/1")

    assert re.fullmatch(rb"00-%b-[0-9a-f]{16}-00" % TRACE.encode(), line)
    assert ["read Observation"] == [exchange.name for exchange in collector.exchanges]


@given(st.lists(st.binary(max_size=80) | st.just(PARENT.encode()), max_size=3))
@example([b"00-" + "٣".encode() * 32])
def test_parent_is_one_well_formed_line_or_none(lines: list[bytes]) -> None:
    span = get_current_span(parent_of(Fields(tuple((b"Traceparent", line) for line in lines))))
    context = span.get_span_context()

    if context.is_valid:
        (line,) = lines
        assert f"{context.trace_id:032x}-{context.span_id:016x}" in line.decode("latin-1")
    else:
        assert lines != [PARENT.encode()]


REFUSED = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "exchange", "attempt"),
    [
        (OK, ("read Patient", None, False), ("GET", None, False)),
        (
            b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
            ("read Patient", None, False),
            ("GET", "404", True),
        ),
        (
            b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
            ("read Patient", "500", True),
            ("GET", "500", True),
        ),
        (b"Lovelace", ("read Patient", "exception", True), ("GET", "exception", True)),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\nConnection: close\r\n\r\nshort",
            ("read Patient", "transient", True),
            ("GET", None, False),
        ),
    ],
)
async def test_what_went_wrong_is_told_without_its_words(
    tool: ClientSession,
    collector: Collector,
    answer: bytes,
    exchange: tuple[str, object, bool],
    attempt: tuple[str, object, bool],
) -> None:
    async with byte_server(Answering(answer)) as fake, program(base(fake.port)) as running:
        try:
            await ask(tool, f"{running.proxies[0].url}/Patient/1")
        except OSError:
            assert b"9000" in answer
    (span,) = collector.exchanges
    assert exchange == told(span)
    assert [attempt] == [told(step) for step in collector.steps(span)]
    assert b"Lovelace" not in b"".join(collector.bodies)


async def test_request_that_is_refused_here_is_no_error_of_ours(
    tool: ClientSession, collector: Collector
) -> None:
    async with byte_server(Answering()) as fake, program(base(fake.port)) as running:
        url = running.proxies[0].url
        assert 421 == await ask(tool, f"{url}/Patient", Host="evil.example")
        assert 405 == await ask(tool, f"{url}/Patient", "PROPFIND")

    assert [("refused", "forbidden", False), ("refused", "not-supported", False)] == [
        told(exchange) for exchange in collector.exchanges
    ]
    assert ["GET", "_OTHER"] == [span.attributes["http.request.method"] for span in collector.exchanges]
    assert [421, 405] == [span.attributes["http.response.status_code"] for span in collector.exchanges]
    assert len(collector.spans) == 2


async def test_each_attempt_is_a_span_of_its_own(tool: ClientSession, collector: Collector) -> None:
    server = Answering(REFUSED, OK)
    async with byte_server(server) as fake, program(base(fake.port)) as running:
        assert 200 == await ask(tool, f"{running.proxies[0].url}/Patient/1")

    (exchange,) = collector.exchanges
    attempts = collector.steps(exchange)
    assert 2 == exchange.attributes["fhir_auth_proxy.attempts"]
    assert [("GET", "503", True), ("GET", None, False)] == [told(attempt) for attempt in attempts]
    assert [None, 1] == [attempt.attributes.get("http.request.resend_count") for attempt in attempts]
    assert [attempt.span_id for attempt in attempts] == [
        head.partition(b"traceparent: 00-")[2].decode().split("-")[1] for head in server.heads
    ]


async def test_renewed_sign_in_is_told_as_one(tool: ClientSession, collector: Collector) -> None:
    async with Sandbox(patients=1) as sandbox:
        with app_settings(sandbox) as signed_in:
            async with program({"base_url": sandbox.fhir.base_url, **signed_in}) as running:
                url = running.proxies[0].url
                assert 200 == await ask(tool, f"{url}/Patient")
                sandbox.fhir.faults.append(RejectToken())
                assert 200 == await ask(tool, f"{url}/Patient")

    steps = collector.steps(collector.exchanges[1])
    assert [("GET", "401", True), ("sign-in", None, False), ("GET", None, False)] == [
        told(step) for step in steps
    ]
    assert steps[1].attributes["fhir_auth_proxy.sign_in.after_refusal"] is True


async def test_sign_in_that_fails_is_told_and_nothing_was_sent(
    tool: ClientSession, collector: Collector
) -> None:
    async with Sandbox(patients=1) as sandbox:
        with app_settings(sandbox) as signed_in:
            wrong = {**signed_in, "client_secret": "Lovelace", "base_url": sandbox.fhir.base_url}
            async with program(wrong) as running:
                assert 502 == await ask(tool, f"{running.proxies[0].url}/Patient")

    (exchange,) = collector.exchanges
    assert ("search-type Patient", "login", True) == told(exchange)
    assert [("sign-in", "login", True)] == [told(step) for step in collector.steps(exchange)]
    assert b"Lovelace" not in b"".join(collector.bodies)


async def test_tool_that_leaves_got_no_status(tool: ClientSession, collector: Collector) -> None:
    asked = asyncio.Event()

    async def silence(peer: Peer) -> None:
        await peer.head()
        asked.set()

    async with byte_server(silence) as fake, program(base(fake.port)) as running:
        sending = asyncio.create_task(ask(tool, f"{running.proxies[0].url}/Patient/1"))
        await asked.wait()
        sending.cancel()
        await fake.until_closed()

    (exchange,) = collector.exchanges
    assert ("read Patient", "unanswered", False) == told(exchange)
    assert "http.response.status_code" not in exchange.attributes
    assert [("GET", "cancelled", True)] == [told(step) for step in collector.steps(exchange)]


async def test_file_of_an_export_is_an_exchange_with_its_storage_account(
    tool: ClientSession, collector: Collector
) -> None:
    async with Sandbox(patients=1, base_path="/fhir", has_storage=True) as sandbox:
        assert sandbox.storage is not None
        host = sandbox.storage.host
        kept = sandbox.storage.keep("container/Lovelace.ndjson", b"{}\n")
        with app_settings(sandbox) as signed_in:
            settings = {"base_url": sandbox.fhir.base_url, "export_storage": [host], **signed_in}
            async with program(settings) as running:
                local = kept.replace(
                    f"https://{host}", f"{running.proxies[0].url}/.fhir-auth-proxy/storage/{host}"
                )
                assert 200 == await ask(tool, local)

    (exchange,) = collector.exchanges
    assert ("file", host) == (exchange.name, exchange.attributes["fhir_auth_proxy.server"])
    sign_in, attempt = collector.steps(exchange)
    assert "sign-in" == sign_in.name
    assert host == f"{attempt.attributes['server.address']}:{attempt.attributes['server.port']}"
    assert b"Lovelace" not in b"".join(collector.bodies)


PATIENT = "Lovelace"
FIELDS = dict.fromkeys(
    ("X-Request-Id", "X-Correlation-Id", "User-Agent", "Referer", "Prefer", "If-None-Exist"), f"a-{PATIENT}"
)
REQUESTS = [
    ("GET", f"/Patient/{PATIENT}"),
    ("GET", f"/Patient?name={PATIENT}&_id={PATIENT}"),
    ("GET", f"/{PATIENT}"),
    ("GET", f"/{PATIENT}/1/_history/{PATIENT}"),
    ("GET", f"/Patient/{PATIENT}/{PATIENT}"),
    ("POST", f"/${PATIENT}"),
    ("POST", f"/Patient/{PATIENT}/$everything?a={PATIENT}"),
    ("PUT", f"/Patient/{PATIENT}"),
    ("DELETE", f"/_operations/{PATIENT}/{PATIENT}"),
    ("PATCH", f"/a/b/c/{PATIENT}"),
    ("PROPFIND", f"/{PATIENT}"),
    ("GET", f"/Patient/..%2f{PATIENT}"),
]


async def test_no_word_of_a_request_or_an_answer_reaches_the_collector(
    tool: ClientSession, collector: Collector
) -> None:
    body = b'{"resourceType":"%b","id":"%b"}' % ((PATIENT.encode(),) * 2)
    answer = (
        b"HTTP/1.1 200 %b\r\nContent-Type: application/fhir+json\r\nETag: %b\r\nContent-Length: %d\r\n\r\n%b"
    )
    server = Answering(answer % (PATIENT.encode(), PATIENT.encode(), len(body), body))
    states = {"traceparent": PARENT, "tracestate": f"a={PATIENT}", "baggage": f"name={PATIENT}"}
    async with byte_server(server) as fake, program(base(fake.port)) as running:
        url = running.proxies[0].url
        for method, path in REQUESTS:
            async with tool.request(method, url + path, data=body, headers={**FIELDS, **states}) as response:
                await response.read()
        authorized = {"Authorization": f"Bearer {PATIENT}", "Origin": f"https://{PATIENT}.example"}
        assert 403 == await ask(tool, f"{url}/Patient", **authorized)
        assert 421 == await ask(tool, f"{url}/Patient", Host=PATIENT)
        assert len(server.heads) == len(REQUESTS) - 2

    sent = b"".join(collector.bodies).lower()
    assert len(collector.exchanges) == len(REQUESTS) + 2
    assert PATIENT.lower().encode() not in sent
    assert {"read Patient", "search-type", "operation", "operation Patient $everything", "job", "other"} < {
        exchange.name for exchange in collector.exchanges
    }


async def test_no_token_and_no_account_reaches_the_collector(
    tool: ClientSession, collector: Collector
) -> None:
    async with Sandbox(patients=1) as sandbox:
        with app_settings(sandbox) as signed_in:
            async with program({"base_url": sandbox.fhir.base_url, **signed_in}) as running:
                assert 200 == await ask(tool, f"{running.proxies[0].url}/Patient")
                credentials = await running.proxies[0].watch.credentials()
            secrets = [str(signed_in["client_id"]), str(signed_in["client_secret"])]
    assert credentials is not None
    secrets += credentials.authorization.decode().removeprefix("Bearer ").split(".")
    sent = b"".join(collector.bodies).decode("latin-1")
    assert len(collector.exchanges) == 1
    assert not [secret for secret in secrets if secret in sent]


async def test_settings_that_change_are_traced_alike(tool: ClientSession, collector: Collector) -> None:
    async with byte_server(Answering()) as one, byte_server(Answering()) as two:
        async with program(base(one.port)) as running:
            changed = running.config.replace(
                servers=(
                    running.config.servers[0].replace(policy="read-only"),
                    ServerConfig.of({**base(two.port), "listen": "127.0.0.1:0", "auth": "anonymous"}),
                )
            )
            await running.change(changed, asyncio.Event())
            for proxy in running.proxies:
                assert 200 == await ask(tool, f"{proxy.url}/Patient/1")

        assert [f"127.0.0.1:{fake.port}" for fake in (one, two)] == [
            exchange.attributes["fhir_auth_proxy.server"] for exchange in collector.exchanges
        ]


async def test_switched_off_sdk_leaves_everything_as_it_is(
    tool: ClientSession, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    server = Answering()
    async with byte_server(server) as fake, program(base(fake.port)) as running:
        assert 200 == await ask(tool, f"{running.proxies[0].url}/Patient/1", traceparent=PARENT)
        assert [PARENT.encode()] == server.lines(b"traceparent")
        assert 200 == await ask(tool, f"{running.proxies[0].url}/Patient/1")
        assert [] == server.lines(b"traceparent")

    assert [] == collector.bodies
