from __future__ import annotations

import logging
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import Config
from proxy.open_files import RESERVE, _files, raise_limit, within_limits
from proxy.upstream import MAX_CONNECTIONS


def configured(*connections: int) -> Config:
    servers = [
        {"base_url": "https://fhir.example", "listen": number, "max_connections": most}
        for number, most in enumerate(connections, 8080)
    ]
    return Config.of({"server": servers})


def most(config: Config) -> list[int]:
    return [server.max_connections for server in config.servers]


CASES: list[tuple[float, list[int], list[int]]] = [
    (math.inf, [1024], [1024]),
    (RESERVE + 1024 + MAX_CONNECTIONS, [1024], [1024]),
    (RESERVE + 1023 + MAX_CONNECTIONS, [1024], [1023]),
    (RESERVE + 100, [1024], [50]),
    (RESERVE + 1100, [1024, 10], [294, 10]),
    (3, [1024], [1]),
]


@pytest.mark.parametrize(("allowed", "wanted", "expected"), CASES)
def test_connections_fit_into_the_files_that_are_allowed(
    allowed: float, wanted: list[int], expected: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    config = configured(*wanted)

    assert expected == most(within_limits(config, lambda _: allowed))
    assert (wanted != expected) == any(
        f"open {allowed:.0f} files" in record.message and record.levelno == logging.WARNING
        for record in caplog.records
    )


@given(allowed=st.integers(RESERVE + 10, 5000), wanted=st.lists(st.integers(1, 3000), min_size=1, max_size=5))
def test_files_are_enough_for_all(allowed: int, wanted: list[int]) -> None:
    config = within_limits(configured(*wanted), lambda _: allowed)

    assert RESERVE + sum(map(_files, most(config))) <= allowed


def test_system_tells_its_limit() -> None:
    assert raise_limit(1) >= 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
@pytest.mark.parametrize(("soft", "hard", "wanted", "expected"), [(200, 400, 300, 300), (200, 400, 900, 400)])
def test_soft_limit_is_raised_as_far_as_the_hard_one(
    soft: int, hard: int, wanted: int, expected: int
) -> None:
    program = (
        f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}));"
        f"from proxy.open_files import raise_limit; print(raise_limit({wanted}))"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )

    assert expected == float(done.stdout)
