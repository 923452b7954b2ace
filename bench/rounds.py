"""All peers up at once, asked in turn, the order changed every round; first it is seen that they answer right."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from .load import download, fetch, wrk
from .payloads import BASE_PATH, EXPORT, PATIENT, PAYLOADS, PUT, Payload, rewritten, write_payloads
from .peers import PEERS, Peer, Place, upstream
from .processes import LOAD_CPU, PROXY_CPU, PeakMemory, Running, free_port

DIRECT = "direct"
"""The upstream itself, without a proxy."""

CONNECTIONS = (1, 32)

START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One slot of one peer; times in seconds."""

    cpu_by_request: float
    by_second: float
    median: float
    memory_growth: int = 0


@dataclass(slots=True)
class Results:
    """All samples by payload, connections and peer, with what was seen besides."""

    samples: dict[tuple[str, int, str], list[Sample]] = field(default_factory=dict)
    idle_memory: dict[str, int] = field(default_factory=dict)
    peak_memory: dict[str, int] = field(default_factory=dict)
    starts: dict[str, list[float]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def value(
        self, payload: str, connections: int, peer: str, of: Callable[[Sample], float]
    ) -> tuple[float, float, float] | None:
        """Median, least and most of one number; None where there is none."""
        found = [of(sample) for sample in self.samples.get((payload, connections, peer), ())]
        return (median(found), min(found), max(found)) if found else None


@dataclass(frozen=True, slots=True)
class _Up:
    peer: Peer
    base: str
    running: Running
    payloads: tuple[Payload, ...]


def measure(
    folder: Path,
    *,
    rounds: int,
    seconds: float,
    export_bytes: int,
    peers: Sequence[Peer],
    tell: Callable[[str], None],
) -> Results:
    """Everything, in about `rounds * peers * 9 * seconds`."""
    results = Results()
    server = Place(free_port(), 0, folder)
    base = f"{server.here}{BASE_PATH}"
    write_payloads(folder, base, export_bytes=export_bytes)
    with _started(Peer(DIRECT, upstream), server, LOAD_CPU) as serving:
        if serving is None:
            raise RuntimeError("nginx is needed: it is the upstream of all")
        _first_answer(serving, base)
        for peer in peers:
            _time_starts(peer, server.port, folder, rounds, results)
        with _all_up(peers, server.port, folder, results, tell) as up:
            direct = _Up(Peer(DIRECT, upstream), base, serving, PAYLOADS)
            for one in up:
                results.idle_memory[one.peer.name] = one.running.resident_bytes()
            for number in range(rounds):
                turn = [direct, *up]
                turn = turn[number % len(turn) :] + turn[: number % len(turn)]
                for payload in PAYLOADS:
                    for connections in (1,) if payload.is_large else CONNECTIONS:
                        for one in turn if number % 2 else reversed(turn):
                            _slot(one, payload, connections, seconds, folder, results)
                tell(f"round {number + 1} of {rounds}")
    return results


def _slot(
    one: _Up, payload: Payload, connections: int, seconds: float, folder: Path, results: Results
) -> None:
    if payload not in one.payloads:
        return
    before = one.running.cpu_seconds()
    with PeakMemory(one.running) as memory:
        try:
            if payload.is_large:
                load = download(one.base, payload)
            else:
                load = wrk(one.base, payload, folder, connections=connections, seconds=seconds)
        except (RuntimeError, OSError) as error:
            results.left_out[f"{one.peer.name}: {payload.name}, c={connections}"] = str(error)
            return
    cpu = one.running.cpu_seconds() - before
    name = one.peer.name
    results.samples.setdefault((payload.name, connections, name), []).append(
        Sample(cpu / load.requests, load.requests / load.seconds, load.median, memory.peak - memory.before)
    )
    results.peak_memory[name] = max(results.peak_memory.get(name, 0), memory.peak)


@contextmanager
def _all_up(
    peers: Sequence[Peer], server_port: int, folder: Path, results: Results, tell: Callable[[str], None]
) -> Iterator[list[_Up]]:
    up: list[_Up] = []
    try:
        for peer in peers:
            place = Place(free_port(), server_port, folder)
            command = peer.command(place)
            if command is None:
                results.left_out[peer.name] = "not installed"
                tell(f"{peer.name}: not installed")
                continue
            running = Running(command[0], folder, command[1], PROXY_CPU)
            base = f"{place.here}{BASE_PATH}"
            up.append(_Up(peer, base, running, ()))
            try:
                _first_answer(running, base)
            except RuntimeError as error:
                results.left_out[peer.name] = str(error)
                tell(f"{peer.name}: {error}")
                continue
            right = _right_payloads(peer, base, place, folder, results)
            up[-1] = _Up(peer, base, running, right)
            results.versions[peer.name] = peer.version()
        yield [one for one in up if one.payloads]
    finally:
        for one in up:
            one.running.stop()


def _right_payloads(
    peer: Peer, base: str, place: Place, folder: Path, results: Results
) -> tuple[Payload, ...]:
    """Those that arrive byte for byte as they have to; the others are told and not measured."""
    right = []
    for payload in PAYLOADS:
        sent = (folder / payload.file).read_bytes()
        expected = b"{}" if payload is PUT else sent
        if peer.rewrites and payload is not PUT:
            plain = sent if not payload.coding else (folder / payload.file.removesuffix(".gz")).read_bytes()
            expected = rewritten(plain, f"{place.upstream}{BASE_PATH}", base)
        status, body = fetch(base, payload, sent if payload is PUT else None)
        if status == 200 and body == expected:
            right.append(payload)
        else:
            results.left_out[f"{peer.name}: {payload.name}"] = (
                "passed without rewriting" if body == sent else f"status {status}, other bytes than expected"
            )
    return tuple(right)


def _time_starts(peer: Peer, server_port: int, folder: Path, times: int, results: Results) -> None:
    for _ in range(times):
        place = Place(free_port(), server_port, folder)
        begun = time.perf_counter()
        with _started(peer, place, PROXY_CPU) as running:
            if running is None:
                return
            try:
                _first_answer(running, f"{place.here}{BASE_PATH}")
            except RuntimeError:
                return
            results.starts.setdefault(peer.name, []).append(time.perf_counter() - begun)


@contextmanager
def _started(peer: Peer, place: Place, cpu: int) -> Iterator[Running | None]:
    command = peer.command(place)
    if command is None:
        yield None
        return
    running = Running(command[0], place.folder, command[1], cpu)
    try:
        yield running
    finally:
        running.stop()


def _first_answer(running: Running, base: str) -> None:
    """Ask until there is an answer."""
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


def default_peers(names: Sequence[str]) -> tuple[Peer, ...]:
    """The peers by name, all where none is named."""
    return tuple(peer for peer in PEERS if not names or peer.name in names)


__all__ = ["CONNECTIONS", "DIRECT", "EXPORT", "Results", "default_peers", "measure"]
