"""A fuzzer guided by coverage, beside `test_fuzz.py`, for whoever has atheris: it is no dependency and not run by CI.

    python -m tests.attacks.fuzz_requests FOLDER -max_total_time=600

FOLDER keeps what reached new code; the bytes that broke something are written beside it, for a test.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import atheris

SIDES = 2

WORDS = [
    *(
        b"GET /",
        b"POST /Patient",
        b" HTTP/1.1\r\n",
        b" HTTP/1.0\r\n",
        b"\r\n\r\n",
        b"\r\nHost: %h",
        b"0\r\n\r\n",
    ),
    *(
        b"\r\nContent-Length: 2",
        b"\r\nTransfer-Encoding: chunked",
        b"\r\nConnection: close",
        b"\r\nExpect: 100-continue",
    ),
    *(b"\r\nOrigin: http://%h", b"\r\nAuthorization: x", b"\r\nUpgrade: h2c", b"\r\nContent-Encoding: gzip"),
    *(
        b"\r\nContent-Type: application/fhir+json",
        b"\r\nAccept: application/fhir+xml",
        b"\r\nTrailer: X",
        b"HEAD /",
    ),
    *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 304 X\r\n", b"\r\nLocation: /x"),
    *(b"%2e%2e", b"%2F", b"..;/", b"//", b"?_format=xml", b"/fhir/", b"$everything", b"\r\n ", b"http://%h/"),
]


def main() -> None:
    """Fuzz by libFuzzer until told to stop."""
    with atheris.instrument_imports(include=["proxy"]):
        from .fuzzing import ANSWERS, SEEDS, Fuzzing
    logging.disable()
    seed(Path(sys.argv[1]), [b"\0" + one for one in SEEDS] + [b"\1" + one for one in ANSWERS])
    fuzzing = Fuzzing()
    speakers = (fuzzing.from_tool, fuzzing.from_server)

    def attempt(data: bytes) -> None:
        """Let the first byte say which side speaks."""
        if data:
            speakers[data[0] % SIDES](data[1:])

    atheris.Setup([*sys.argv, dictionary(Path(sys.argv[1]), WORDS)], attempt)
    atheris.Fuzz()


def seed(folder: Path, messages: list[bytes]) -> None:
    """Let the fuzzer begin with these."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, message in enumerate(messages):
        (folder / f"seed-{number}").write_bytes(message)


def dictionary(folder: Path, words: list[bytes]) -> str:
    """The option by which libFuzzer knows these words; the file is beside the folder."""
    file = folder.with_suffix(".words")
    spelled = ["".join(map("\\x{:02x}".format, word)) for word in words]
    file.write_text("".join(f'"{word}"\n' for word in spelled))
    return f"-dict={file}"


if __name__ == "__main__":
    main()
