"""All peers up at once, asked in turn, the order changed every round; first it is seen that they answer right.

A scenario is one kind of upstream: each has its own, with payloads that name it, and all peers anew before it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from .certificate import write_certificate
from .load import download, fetch, wrk
from .nginx import upstream
from .payloads import BASE_PATH, PATIENT, PAYLOADS, PUT, Payload, rewritten, write_payloads
from .peer import Peer, Place
from .processes import LOAD_CPU, PROXY_CPU, PeakMemory, Running, free_port

DIRECT = "direct"
"""The upstream itself, without a proxy."""

CONNECTIONS = (1, 32)

PLAIN, TLS = "plain", "TLS"
SCENARIOS = (PLAIN, TLS)

START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Slot:
    """What is asked of every peer in turn."""

    scenario: str
    payload: str
    connections: int


@dataclass(frozen=True, slots=True)
class Sample:
    """What one slot of one peer gave; times in seconds."""

    cpu_by_request: float
    by_second: float
    median: float
    memory_growth: int = 0


Spread = tuple[float, float, float]
"""Median, least and most."""


@dataclass(slots=True)
class Results:
    """All samples by slot and peer, with what was seen besides."""

    samples: dict[tuple[Slot, str], list[Sample]] = field(default_factory=dict)
    idle_memory: dict[tuple[str, str], int] = field(default_factory=dict)
    peak_memory: dict[tuple[str, str], int] = field(default_factory=dict)
    starts: dict[str, list[float]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def value(self, slot: Slot, peer: str, of: Callable[[Sample], float]) -> Spread | None:
        """One number of a peer; None where it was not measured."""
        found = [of(sample) for sample in self.samples.get((slot, peer), ())]
        return (median(found), min(found), max(found)) if found else None

    def slots(self) -> list[Slot]:
        """What was measured, in order."""
        return list(dict.fromkeys(slot for slot, _ in self.samples))


@dataclass(frozen=True, slots=True)
class Effort:
    """How long is measured, and what."""

    rounds: int
    seconds: int
    export_bytes: int
    scenarios: Sequence[str] = SCENARIOS
    connections: Sequence[int] = CONNECTIONS

    def slots(self, scenario: str) -> list[tuple[Slot, Payload]]:
        """Each payload with each number of connections; a large one is fetched once a round."""
        return [
            (Slot(scenario, payload.name, connections), payload)
            for payload in PAYLOADS
            for connections in ((1,) if payload.is_large else self.connections)
        ]


@dataclass(frozen=True, slots=True)
class _Up:
    peer: Peer
    base: str
    running: Running
    payloads: tuple[Payload, ...]


def measure(folder: Path, effort: Effort, peers: Sequence[Peer], tell: Callable[[str], None]) -> Results:
    """Everything, in about `scenarios * rounds * (peers + 1) * (8 * seconds + 1)` seconds."""
    results = Results()
    for scenario in effort.scenarios:
        own = folder / scenario
        own.mkdir()
        _measure_before(scenario, own, effort, peers, results, tell)
    return results


def _measure_before(
    scenario: str,
    folder: Path,
    effort: Effort,
    peers: Sequence[Peer],
    results: Results,
    tell: Callable[[str], None],
) -> None:
    is_tls = scenario == TLS
    server = Place(0, free_port(), folder, is_tls)
    base = f"{server.upstream}{BASE_PATH}"
    write_certificate(folder)
    write_payloads(folder, base, export_bytes=effort.export_bytes)
    with started(Peer(DIRECT, upstream), Place(server.upstream_port, 0, folder, is_tls), LOAD_CPU) as serving:
        if serving is None:
            raise RuntimeError("nginx is needed: it is the upstream of all")
        first_answer(serving, base)
        if scenario == PLAIN:
            _time_starts(peers, server, effort.rounds, results)
        with _all_up(peers, server, results, tell) as up:
            direct = _Up(Peer(DIRECT, upstream), base, serving, PAYLOADS)
            for one in up:
                results.idle_memory[scenario, one.peer.name] = one.running.resident_bytes()
            for number in range(effort.rounds):
                turn = [direct, *up]
                turn = turn[number % len(turn) :] + turn[: number % len(turn)]
                for slot, payload in effort.slots(scenario):
                    for one in turn if number % 2 else reversed(turn):
                        if payload in one.payloads:
                            _sample(one, slot, payload, effort.seconds, folder, results)
                tell(f"{scenario}: round {number + 1} of {effort.rounds}")


def _sample(one: _Up, slot: Slot, payload: Payload, seconds: int, folder: Path, results: Results) -> None:
    name = one.peer.name
    before = one.running.cpu_seconds()
    with PeakMemory(one.running) as memory:
        try:
            if payload.is_large:
                load = download(one.base, payload)
            else:
                load = wrk(one.base, payload, folder, connections=slot.connections, seconds=seconds)
        except (RuntimeError, OSError) as error:
            results.left_out[f"{name}: {slot.scenario}, {payload.name}, c={slot.connections}"] = str(error)
            return
    cpu = one.running.cpu_seconds() - before
    results.samples.setdefault((slot, name), []).append(
        Sample(cpu / load.requests, load.requests / load.seconds, load.median, memory.peak - memory.before)
    )
    key = slot.scenario, name
    results.peak_memory[key] = max(results.peak_memory.get(key, 0), memory.peak)


@contextmanager
def _all_up(
    peers: Sequence[Peer], server: Place, results: Results, tell: Callable[[str], None]
) -> Iterator[list[_Up]]:
    up: list[_Up] = []
    try:
        for peer in peers:
            place = Place(free_port(), server.upstream_port, server.folder, server.is_tls)
            command = peer.command(place)
            if command is None:
                results.left_out[peer.name] = "not installed"
                tell(f"{peer.name}: not installed")
                continue
            running = Running(command[0], place.folder, command[1], PROXY_CPU)
            base = f"{place.here}{BASE_PATH}"
            up.append(_Up(peer, base, running, ()))
            try:
                first_answer(running, base)
            except RuntimeError as error:
                results.left_out[f"{peer.name}, {'TLS' if place.is_tls else 'plain'}"] = str(error)
                tell(f"{peer.name}: {error}")
                continue
            up[-1] = _Up(peer, base, running, _right_payloads(peer, base, place, results))
            results.versions[peer.name] = peer.version()
        yield [one for one in up if one.payloads]
    finally:
        for one in up:
            one.running.stop()


def _right_payloads(peer: Peer, base: str, place: Place, results: Results) -> tuple[Payload, ...]:
    """Those that arrive byte for byte as they have to; the others are told and not measured."""
    right = []
    for payload in PAYLOADS:
        sent = (place.folder / payload.file).read_bytes()
        expected = b"{}" if payload is PUT else sent
        if peer.rewrites and payload is not PUT:
            plain = (place.folder / payload.file.removesuffix(".gz")).read_bytes()
            expected = rewritten(plain, f"{place.upstream}{BASE_PATH}", base)
        status, body = fetch(base, payload, sent if payload is PUT else None)
        if status == 200 and body == expected:
            right.append(payload)
        else:
            results.left_out[f"{peer.name}: {payload.name}"] = (
                "passed without rewriting" if body == sent else f"status {status}, other bytes than expected"
            )
    return tuple(right)


def _time_starts(peers: Sequence[Peer], server: Place, times: int, results: Results) -> None:
    """Start each alone, in turn; the first start of each is not counted, since it may write byte code."""
    for number in range(times + 1):
        for peer in peers:
            place = Place(free_port(), server.upstream_port, server.folder, server.is_tls)
            begun = time.perf_counter()
            with started(peer, place, PROXY_CPU) as running:
                if running is None:
                    continue
                try:
                    first_answer(running, f"{place.here}{BASE_PATH}")
                except RuntimeError:
                    continue  # told when all are started
                if number:
                    results.starts.setdefault(peer.name, []).append(time.perf_counter() - begun)


@contextmanager
def started(peer: Peer, place: Place, cpu: int) -> Iterator[Running | None]:
    """A peer that runs until the end; None where it is not installed."""
    command = peer.command(place)
    if command is None:
        yield None
        return
    running = Running(command[0], place.folder, command[1], cpu)
    try:
        yield running
    finally:
        running.stop()


def first_answer(running: Running, base: str) -> None:
    """Ask until there is an answer; RuntimeError where it is not a good one."""
    until = time.perf_counter() + START_SECONDS
    while time.perf_counter() < until and not running.ended:
        try:
            status, _ = fetch(base, PATIENT)
        except OSError:
            time.sleep(0.002)
            continue
        if status == 200:
            return
        raise RuntimeError(f"answers with status {status}")
    raise RuntimeError("does not start")
