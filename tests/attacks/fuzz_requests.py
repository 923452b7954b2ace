"""A fuzzer guided by coverage, beside `test_fuzz.py`, for whoever has atheris: it is no dependency and not run by CI.

    python -m tests.attacks.fuzz_requests FOLDER -max_total_time=600

FOLDER keeps what reached new code; the bytes that broke something are written beside it, for a test.
"""

from __future__ import annotations

import sys

import atheris

SIDES = 2


def main() -> None:
    """Fuzz by libFuzzer until told to stop."""
    with atheris.instrument_imports(include=["proxy"]):
        from .fuzzing import Fuzzing
    fuzzing = Fuzzing()
    speakers = (fuzzing.from_tool, fuzzing.from_server)

    def attempt(data: bytes) -> None:
        """Let the first byte say which side speaks."""
        if data:
            speakers[data[0] % SIDES](data[1:])

    atheris.Setup(sys.argv, attempt)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
