"""Instructions a request in user space, by callgrind: `python -m bench.instructions [--check | --write]`.

One proxy runs under callgrind. For each way it answers N requests and then 2N, each time over one connection; the
difference is what N requests cost. Unlike times the number hardly depends on the machine's mood; it does depend
on the builds of Python and of the libraries and on what the processor offers to the C library, which are kept
beside the baseline.
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
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .installed import installed
from .payloads import BASE_PATH, BUNDLE, PATIENT, PUT, Payload, write_payloads
from .peers import TOKEN, Peer, Place, upstream
from .processes import Running, free_port

BASELINE = Path(__file__).with_name("instructions.json")

TOLERANCE = 0.03
"""How much more than the baseline a request may cost."""

WARM_UP = 50
"""Requests before the counted ones: caches fill, and Python specializes its bytecode."""

LIBRARIES = ("aiohttp", "httptools", "multidict", "mypy", "uvloop", "yarl")

PATIENCE = 120
"""Seconds after which a callgrind that does not answer is given up."""

_TOTALS = re.compile(r"^totals: (\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Way:
    """One main path through the proxy; `rewrite` is what the tool says about it."""

    name: str
    payload: Payload
    requests: int
    rewrite: bool = True

    @property
    def gates(self) -> bool:
        """Whether it repeats well enough to fail by: in how many pieces a large body comes depends on the load."""
        return self.payload is PATIENT


WAYS = (
    Way("Patient, through", PATIENT, 150, rewrite=False),
    Way("Patient, rewriting", PATIENT, 150),
    Way("Bundle, through", BUNDLE, 50, rewrite=False),
    Way("Bundle, rewriting", BUNDLE, 50),
    Way("PUT, rewriting", PUT, 50),
)


class Counted:
    """A proxy whose instructions are counted."""

    def __init__(self, folder: Path, upstream_port: int) -> None:
        self._folder = folder
        self._port = free_port()
        self._dumps = 0
        command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/out"]
        program = [sys.executable, "-m", "proxy", "run", f"http://127.0.0.1:{upstream_port}{BASE_PATH}"]
        settings = ["--listen", f"127.0.0.1:{self._port}", "--auth", "token"]
        self._process = subprocess.Popen(  # noqa: S603
            [*command, *program, *settings, "--admin-listen", "off", "--log-level", "warning"],
            cwd=folder,
            env={
                **os.environ,
                "FHIR_AUTH_PROXY_TOKEN": TOKEN,
                "PYTHONHASHSEED": "0",
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONPATH": str(installed()),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None  # noqa: S101  (it is a pipe)
        if not self._process.stdout.readline():  # the base URL: the listener accepts
            raise RuntimeError("the proxy did not start under valgrind")

    def instructions(self, way: Way) -> int:
        """Instructions that one request takes on this way."""
        self._ask(way, WARM_UP)
        self._control("--instr=on")
        try:
            once = self._total(way, way.requests)
            twice = self._total(way, 2 * way.requests)
        finally:
            self._control("--instr=off")
        return (twice - once) // way.requests

    def stop(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _total(self, way: Way, requests: int) -> int:
        self._control("--zero")
        self._ask(way, requests)
        self._control("--dump")
        self._dumps += 1
        total = _TOTALS.search((self._folder / f"out.{self._dumps}").read_text())
        if total is None:
            raise RuntimeError("callgrind gave no total")
        return int(total[1])

    def _control(self, *what: str) -> None:
        subprocess.run(  # noqa: S603
            ["callgrind_control", *what, str(self._process.pid)],  # noqa: S607
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
            timeout=PATIENCE,
        )

    def _ask(self, way: Way, requests: int) -> None:
        payload = way.payload
        fields = {"Accept": "application/fhir+json"}
        if not way.rewrite:
            fields["X-Fhir-Auth-Proxy-Rewrite"] = "off"
        body = None
        if payload.method == "PUT":
            fields["Content-Type"] = payload.media_type
            body = (self._folder / payload.file).read_bytes()
        connection = HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        try:
            for _ in range(requests):
                connection.request(payload.method, BASE_PATH + payload.target, body, fields)
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
    """All ways, one after the other."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, _upstream(Path(name)) as port:
        counted = Counted(Path(name), port)
        try:
            return {way.name: counted.instructions(way) for way in ways}
        finally:
            counted.stop()


def versions() -> dict[str, str]:
    """What the numbers depend on besides the code."""
    found = {
        "python": f"{platform.python_version()} {' '.join(platform.python_build())} {platform.python_compiler()}",
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()),
        "processor": _vector_units(),
    }
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = "absent"
    return found


def _vector_units() -> str:
    """What the C library chooses its copies and searches by (glibc, sysdeps/x86_64/multiarch)."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return "unknown"
    return " ".join(sorted(flags & {"sse4_2", "avx2", "avx512vl", "avx512bw", "erms", "fsrm", "rtm"}))


def main() -> int:
    """Measure, compare with the baseline; 1 where --check finds a request that costs too much."""
    parser = argparse.ArgumentParser(prog="python -m bench.instructions", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help=f"fail above the baseline by {TOLERANCE:.0%}")
    what.add_argument("--write", action="store_true", help="make what is measured the baseline")
    arguments = parser.parse_args()
    if not shutil.which("callgrind_control") or not shutil.which("nginx"):
        parser.error("valgrind and nginx are needed: apt install valgrind nginx")
    counts = measured(WAYS)
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {"instructions": {}, "versions": {}}
    too_much = False
    for name, count in counts.items():
        before = baseline["instructions"].get(name)
        change = f"{count / before - 1:+.2%} of {before:,}" if before else "no baseline"
        gates = any(way.gates for way in WAYS if way.name == name)
        too_much |= bool(gates and before and count > before * (1 + TOLERANCE))
        print(f"{name:20} {count:>10,}  {change}")  # noqa: T201
    if arguments.write:
        BASELINE.write_text(json.dumps({"instructions": counts, "versions": versions()}, indent=1) + "\n")
    elif baseline["versions"] != versions():
        here = versions()
        for name in sorted(here.keys() | baseline["versions"].keys()):
            before, now = baseline["versions"].get(name), here.get(name)
            if before != now:
                print(f"The baseline is for {name} {before}; here it is {now}.")  # noqa: T201
        print("Not compared: make a baseline for this machine, or run where it fits.")  # noqa: T201
        return 0
    return int(arguments.check and too_much)


if __name__ == "__main__":
    sys.exit(main())
