"""Instructions a request in user space, by callgrind: `python -m bench.instructions [--check | --write]`.

The proxy answers N requests, one after the other on one connection, and in a second run 2N; the difference is
what N requests cost, without start and stop. Unlike times the number hardly depends on the machine's mood; it
does depend on the versions of Python and of the libraries, which are kept beside the baseline.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .payloads import BASE_PATH, BUNDLE, PATIENT, Payload, write_payloads
from .peers import TOKEN, Peer, Place, upstream
from .processes import Running, free_port

BASELINE = Path(__file__).with_name("instructions.json")

TOLERANCE = 0.03
"""How much more than the baseline a request may cost."""

WARM_UP = 50
"""Requests before the counted ones: caches fill, and Python specializes its bytecode."""

LIBRARIES = ("aiohttp", "httptools", "multidict", "uvloop", "yarl")

_TOTAL = re.compile(r"Collected : (\d+)")


@dataclass(frozen=True, slots=True)
class Way:
    """One main path through the proxy."""

    name: str
    payload: Payload
    rewrite: str
    requests: int


WAYS = (
    Way("Patient, through", PATIENT, "off", 200),
    Way("Patient, rewriting", PATIENT, "on", 200),
    Way("Bundle, through", BUNDLE, "off", 100),
    Way("Bundle, rewriting", BUNDLE, "on", 100),
)


def instructions(way: Way, folder: Path, upstream_port: int) -> int:
    """Instructions that one request takes on this way."""
    once = _counted(way, folder, upstream_port, WARM_UP + way.requests)
    twice = _counted(way, folder, upstream_port, WARM_UP + 2 * way.requests)
    return (twice - once) // way.requests


def _counted(way: Way, folder: Path, upstream_port: int, requests: int) -> int:
    """Instructions of a whole run that answers so many requests."""
    port = free_port()
    token = folder / f"{port}.token"
    token.write_text(TOKEN)
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/{port}.out"]
    program = [sys.executable, "-m", "proxy", "run", f"http://127.0.0.1:{upstream_port}{BASE_PATH}"]
    settings = ["--listen", f"127.0.0.1:{port}", "--auth", "token", "--token-file", str(token)]
    process = subprocess.Popen(  # noqa: S603
        [*command, *program, *settings, "--rewrite", way.rewrite, "--log-level", "warning"],
        env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None  # noqa: S101  (it is a pipe)
        process.stdout.readline()  # the base URL: the listener accepts
        _ask(port, way.payload, requests)
    finally:
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=60)
    total = _TOTAL.search(told)
    if total is None:
        raise RuntimeError(f"callgrind gave no total: {told[-500:]}")
    return int(total[1])


def _ask(port: int, payload: Payload, requests: int) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        for _ in range(requests):
            connection.request("GET", BASE_PATH + payload.target, headers={"Accept": "application/fhir+json"})
            answer = connection.getresponse()
            if answer.status != 200 or not answer.read():
                raise RuntimeError(f"the proxy answers with status {answer.status}")
    finally:
        connection.close()


@contextmanager
def _upstream(folder: Path) -> Iterator[int]:
    place = Place(free_port(), 0, folder)
    write_payloads(folder, f"{place.here}{BASE_PATH}", export_bytes=1)
    command = Peer("upstream", upstream).command(place)
    if command is None:
        raise RuntimeError("nginx is needed")
    running = Running(command[0], folder, command[1], cpu=None)
    try:
        time.sleep(0.2)
        yield place.port
    finally:
        running.stop()


def measured(ways: Sequence[Way]) -> dict[str, int]:
    """All ways, as many at a time as there are processors."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as name,
        _upstream(Path(name)) as port,
        ThreadPoolExecutor(os.cpu_count()) as threads,
    ):
        counts = threads.map(lambda way: instructions(way, Path(name), port), ways)
        return {way.name: count for way, count in zip(ways, counts, strict=True)}


def versions() -> dict[str, str]:
    """What the numbers depend on besides the code."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = "absent"
    return found


def main() -> int:
    """Measure, compare with the baseline; 1 where --check finds a request that costs too much."""
    parser = argparse.ArgumentParser(prog="python -m bench.instructions", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help=f"fail above the baseline by {TOLERANCE:.0%}")
    what.add_argument("--write", action="store_true", help="make what is measured the baseline")
    arguments = parser.parse_args()
    if not shutil.which("valgrind") or not shutil.which("nginx"):
        parser.error("valgrind and nginx are needed: apt install valgrind nginx")
    counts = measured(WAYS)
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {"instructions": {}, "versions": {}}
    too_much = False
    for name, count in counts.items():
        before = baseline["instructions"].get(name)
        change = f"{count / before - 1:+.2%} of {before:,}" if before else "no baseline"
        too_much |= bool(before and count > before * (1 + TOLERANCE))
        print(f"{name:20} {count:>10,}  {change}")  # noqa: T201
    if arguments.write:
        BASELINE.write_text(json.dumps({"instructions": counts, "versions": versions()}, indent=1) + "\n")
    elif baseline["versions"] != versions():
        print(f"The baseline was made with {baseline['versions']}, this is {versions()}.")  # noqa: T201
        return 0
    return int(arguments.check and too_much)


if __name__ == "__main__":
    sys.exit(main())
