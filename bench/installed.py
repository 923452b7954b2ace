"""The program as `pip install` makes it, with its compiled modules; a checkout has none."""

from __future__ import annotations

import atexit
import subprocess
import sys
import tempfile
import zipfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]


@cache
def installed() -> Path:
    """A folder to import the program from, made at the first call; it lasts as long as this process.

    A checkout into which compiled modules were unpacked, as .ci/run does, is taken as it is.
    """
    if list((CHECKOUT / "proxy").glob("*.so")):
        return CHECKOUT
    folder = tempfile.TemporaryDirectory(prefix="bench-")
    atexit.register(folder.cleanup)
    program = Path(folder.name)
    # With the mypy that is here, by which numbers are compared; without it with the newest.
    isolation = ["--no-build-isolation"] if find_spec("hatchling") and find_spec("mypyc") else []
    wheel = [
        "wheel",
        "--quiet",
        "--no-deps",
        *isolation,
        "--wheel-dir",
        str(program / "wheel"),
        str(CHECKOUT),
    ]
    subprocess.run([sys.executable, "-m", "pip", *wheel], check=True)  # noqa: S603
    for found in (program / "wheel").glob("*.whl"):
        with zipfile.ZipFile(found) as archive:
            archive.extractall(program)
    return program
