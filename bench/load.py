"""Load: wrk for many requests, a plain socket for one large download."""

from __future__ import annotations

import re
import ssl
import subprocess
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

from .payloads import Payload

_RATE = re.compile(r"(\d+) requests in ([\d.]+)(ms|s|m)")
_HALF = re.compile(r"50%\s+([\d.]+)(us|ms|s)")
_FAULTS = re.compile(r"Non-2xx.*|Socket errors: .*")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass(frozen=True, slots=True)
class Load:
    """What one slot gave; `median` is the latency in seconds that half of the requests kept."""

    requests: int
    seconds: float
    median: float


def wrk(base: str, payload: Payload, folder: Path, *, connections: int, seconds: float) -> Load:
    """Ask for one thing as often as possible; RuntimeError where any answer was not a success."""
    script = folder / f"{payload.file}.lua"
    if not script.exists():
        body = ""
        if payload.method != "GET":
            body = f'local f = io.open("{folder / payload.file}", "rb"); wrk.body = f:read("*a"); f:close()\n'
        script.write_text(
            f'wrk.method = "{payload.method}"\n{body}'
            f'wrk.headers["Content-Type"] = "{payload.media_type}"\n'
            f'wrk.headers["Accept"] = "application/fhir+json"\nwrk.headers["Accept-Encoding"] = "gzip"\n'
        )
    # wrk knows whole seconds alone.
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{max(1, round(seconds))}s",
        "--latency",
        "-s",
        str(script),
    ]
    done = subprocess.run(  # noqa: S603
        [*command, base + payload.target], capture_output=True, text=True, check=True
    )
    rate, half, faults = _RATE.search(done.stdout), _HALF.search(done.stdout), _FAULTS.search(done.stdout)
    if not rate or not half or faults or not int(rate[1]):
        raise RuntimeError(faults[0] if faults else "wrk completed no request")
    return Load(int(rate[1]), float(rate[2]) * _SECONDS[rate[3]], float(half[1]) * _SECONDS[half[2]])


def fetch(base: str, payload: Payload, body: bytes | None = None) -> tuple[int, bytes]:
    """Ask once; the status and the body as it came."""
    parts, connection = urlsplit(base), _connection(base)
    try:
        fields = {"Accept": "application/fhir+json", "Accept-Encoding": "gzip"}
        if body is not None:
            fields["Content-Type"] = payload.media_type
        connection.request(payload.method, parts.path + payload.target, body, fields)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def download(base: str, payload: Payload) -> Load:
    """Fetch a large body and let go of it as it comes."""
    parts, connection = urlsplit(base), _connection(base)
    buffer = bytearray(1 << 20)
    started = time.perf_counter()
    try:
        connection.request("GET", parts.path + payload.target)
        answer = connection.getresponse()
        size = 0
        while count := answer.readinto(buffer):
            size += count
        if answer.status != 200 or not size:
            raise RuntimeError(f"status {answer.status}, {size} bytes")
    finally:
        connection.close()
    seconds = time.perf_counter() - started
    return Load(1, seconds, seconds)


def _connection(base: str) -> HTTPConnection:
    parts = urlsplit(base)
    if parts.scheme == "http":
        return HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    # The upstream itself, asked without a proxy; wrk asks nobody for a name either.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return HTTPSConnection(parts.hostname or "", parts.port, timeout=60, context=context)
