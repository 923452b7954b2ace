"""Is HTTP/2 to the upstream worth its code? `python -m bench.http2 [--out FOLDER]`, some two minutes.

Two pairs before one nginx with TLS: our own leg over HTTP/1.1 beside a prototype on hyper-h2 (`pip install
h2`), which does no more than it must; and Caddy, whose HTTP/2 is grown up, with either version.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median

import h2.config
import h2.connection
import h2.events

from proxy.model import BaseUrl, Fields, RequestHead
from proxy.upstream import Upstream, chunks, tls_context

from .certificate import write_certificate
from .load import wrk
from .nginx import upstream_http2
from .others import caddy, caddy_http2
from .payloads import BASE_PATH, BUNDLE, PATIENT, Payload, write_payloads
from .peer import TOKEN, Peer, Place
from .processes import LOAD_CPU, PROXY_CPU, free_port, pin
from .report import machine
from .rounds import first_answer, started

AT_ONCE = 32
REQUESTS = 2000
ROUNDS = 5
PAYLOADS = (PATIENT, BUNDLE)

Ask = Callable[[str], Awaitable[int]]
"""Ask for a target; the bytes of the answer's body."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One way with one payload: CPU seconds a request, and seconds until the first 32 answers are there."""

    way: str
    payload: str
    cpu: float
    first: float


class Http2:
    """One connection with many streams: a prototype without limits, timeouts, retries or back-pressure."""

    def __init__(self) -> None:
        self._state = h2.connection.H2Connection(
            h2.config.H2Configuration(header_encoding=None, validate_inbound_headers=False)
        )
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._sizes: dict[int, int] = {}

    async def open(self, port: int, tls: ssl.SSLContext) -> None:
        """Connect, and offer windows in which a Bundle fits."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        self._state.initiate_connection()
        self._state.update_settings({4: 1 << 24})  # SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 section 6.5.2)
        self._state.increment_flow_control_window(1 << 30)
        self._writer.write(self._state.data_to_send())
        self._task = asyncio.create_task(self._read(), name="http2-reader")

    async def ask(self, target: str, authority: bytes) -> int:
        """Ask on a stream of its own."""
        stream = self._state.get_next_available_stream_id()
        self._state.send_headers(
            stream,
            [
                (b":method", b"GET"),
                (b":scheme", b"https"),
                (b":authority", authority),
                (b":path", target.encode()),
                (b"accept", b"application/fhir+json"),
                (b"authorization", b"Bearer " + TOKEN.encode()),
            ],
            end_stream=True,
        )
        self._sizes[stream] = 0
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[stream] = answer
        self._writer.write(self._state.data_to_send())
        return await answer

    async def close(self) -> None:
        """Hang up."""
        self._task.cancel()
        self._writer.close()

    async def _read(self) -> None:
        while data := await self._reader.read(1 << 18):
            for event in self._state.receive_data(data):
                if isinstance(event, h2.events.DataReceived):
                    self._sizes[event.stream_id] += len(event.data)
                    self._state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    self._waiting.pop(event.stream_id).set_result(self._sizes.pop(event.stream_id))
            self._writer.write(self._state.data_to_send())


async def over_http11(place: Place, payload: Payload) -> tuple[float, float]:
    """Our own leg: a pool of connections."""
    base = BaseUrl.parse(f"{place.upstream}{BASE_PATH}")
    leg = Upstream(base, tls=tls_context(place.authority))
    fields = Fields(
        (
            (b"Host", base.authority.encode()),
            (b"Accept", b"application/fhir+json"),
            (b"Authorization", b"Bearer " + TOKEN.encode()),
        )
    )

    async def ask(target: str) -> int:
        answer = await leg.send(RequestHead("GET", target.encode(), fields))
        size = 0
        async for chunk in chunks(answer):
            size += len(chunk)
        answer.close()
        return size

    try:
        return await _timed(ask, payload, place)
    finally:
        await leg.close()


async def over_http2(place: Place, payload: Payload) -> tuple[float, float]:
    """The prototype: one connection."""
    tls = ssl.create_default_context(cafile=place.authority)
    tls.set_alpn_protocols(["h2"])
    leg = Http2()
    authority = f"127.0.0.1:{place.upstream_port}".encode()
    begun = time.perf_counter()
    await leg.open(place.upstream_port, tls)
    opening = time.perf_counter() - begun
    try:
        cpu, first = await _timed(lambda target: leg.ask(target, authority), payload, place)
        return cpu, first + opening
    finally:
        await leg.close()


async def _timed(ask: Ask, payload: Payload, place: Place) -> tuple[float, float]:
    target = BASE_PATH + payload.target
    expected = (place.folder / payload.file).stat().st_size
    left = REQUESTS

    async def ask_on() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            if await ask(target) != expected:
                raise RuntimeError("another body than expected")

    begun = time.perf_counter()
    await asyncio.gather(*(ask(target) for _ in range(AT_ONCE)))
    first = time.perf_counter() - begun
    before = time.process_time()
    await asyncio.gather(*(ask_on() for _ in range(AT_ONCE)))
    return (time.process_time() - before) / REQUESTS, first


def _caddy(peer: Peer, server: Place, payload: Payload) -> tuple[float, float]:
    place = Place(free_port(), server.upstream_port, server.folder, is_tls=True)
    base = f"{place.here}{BASE_PATH}"
    with started(peer, place, PROXY_CPU) as running:
        if running is None:
            raise RuntimeError("Caddy is needed: apt install caddy")
        first_answer(running, base)
        before = running.cpu_seconds()
        load = wrk(base, payload, place.folder, connections=AT_ONCE, seconds=1)
        return (running.cpu_seconds() - before) / load.requests, 0.0


def measured(folder: Path) -> list[Measured]:
    """Every way in turn, the order changed every round; the medians."""
    server = Place(0, free_port(), folder, is_tls=True)
    write_certificate(folder)
    write_payloads(folder, f"{server.upstream}{BASE_PATH}", export_bytes=1)
    ways: dict[str, Callable[[Payload], tuple[float, float]]] = {
        "our leg, HTTP/1.1": lambda payload: asyncio.run(over_http11(server, payload)),
        "prototype, HTTP/2": lambda payload: asyncio.run(over_http2(server, payload)),
    }
    for name, command in (("Caddy, HTTP/1.1", caddy), ("Caddy, HTTP/2", caddy_http2)):
        ways[name] = partial(_caddy, Peer(name, command), server)
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    upstream = Peer("upstream", upstream_http2)
    with started(upstream, Place(server.upstream_port, 0, folder, is_tls=True), LOAD_CPU) as serving:
        if serving is None:
            raise RuntimeError("nginx is needed: it is the upstream")
        first_answer(serving, f"{server.upstream}{BASE_PATH}")
        for number in range(ROUNDS):
            for name in ways if number % 2 else reversed(ways):
                for payload in PAYLOADS:
                    found.setdefault((name, payload.name), []).append(ways[name](payload))
    return [
        Measured(way, payload, median(cpu for cpu, _ in values), median(first for _, first in values))
        for (way, payload), values in sorted(found.items(), key=lambda one: (one[0][1], one[0][0]))
    ]


def markdown(told: str, rows: list[Measured]) -> str:
    """The report for people."""
    lines = [
        "# HTTP/2 to the upstream",
        "",
        f"On {told}. {AT_ONCE} requests at a time, TLS, medians of {ROUNDS} rounds.",
        "",
        "| way | payload | CPU µs a request | first 32 answers ms, handshakes included |",
        "|---|---|---|---|",
        *(
            f"| {row.way} | {row.payload} | {row.cpu * 1e6:.0f} | {f'{row.first * 1e3:.0f}' if row.first else ''} |"
            for row in rows
        ),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.http2", description=__doc__)
    parser.add_argument("--out", type=Path, help="folder for http2.md and http2.json")
    arguments = parser.parse_args()
    told = machine()
    pin(PROXY_CPU)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        rows = measured(Path(folder))
    text = markdown(told, rows)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "http2.md").write_text(text, encoding="utf-8")
        (arguments.out / "http2.json").write_text(
            json.dumps({"machine": told, "ways": [asdict(row) for row in rows]}, indent=1) + "\n"
        )
    print(text)  # noqa: T201


if __name__ == "__main__":
    main()
