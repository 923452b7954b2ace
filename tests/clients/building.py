"""Fetches and builds the foreign parts, each once, into folders that git ignores."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest

HERE = Path(__file__).parent
HAPI = HERE / "hapi"
NODE = HERE / "node"
SMART_FETCH = HERE / "smart-fetch"
SMART_FETCH_VERSION = "1.0.3"
FHIR_PYRATE = HERE / "fhir-pyrate"
FHIR_PYRATE_VERSION = "0.2.6"
BUILD_SECONDS = 300


def needed(tool: str) -> str:
    """The path of a program; where it is missing the test is skipped, or fails in CI."""
    return shutil.which(tool) or missing(f"{tool} is not installed")


def missing(reason: str) -> NoReturn:
    """Skip for a reason; in CI fail, so that it cannot pass by skipping."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason}, and CI skips nothing", pytrace=False)
    pytest.skip(reason)


def hapi_command() -> list[str]:
    """What runs a class of hapi/, built by Maven."""
    java, mvn = needed("java"), needed("mvn")
    target = HAPI / "target"
    sources = [HAPI / "pom.xml", *(HAPI / "src").rglob("*.java")]
    if not _is_newer(target / "hapi-1.jar", sources):
        _build([mvn, "-q", "-B", "package"], HAPI)
    class_path = os.pathsep.join((str(target / "hapi-1.jar"), str(target / "lib" / "*")))
    # The tools run for seconds: what the first compiler gives is enough, and starts sooner.
    return [java, "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp", class_path]


def node_command() -> list[str]:
    """What runs node/tour.js, its packages installed by npm."""
    node_modules(NODE)
    return [needed("node"), str(NODE / "tour.js")]


def node_modules(folder: Path) -> Path:
    """What npm installs for the package.json of a folder."""
    npm, modules = needed("npm"), folder / "node_modules"
    if not _is_newer(modules / ".package-lock.json", [folder / "package.json"]):
        _build([npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"], folder)
    return modules


def smart_fetch_command() -> list[str]:
    """What runs smart-fetch, in an environment of its own: it needs half of AWS."""
    return [_in_environment_of_its_own(SMART_FETCH, "smart-fetch", f"smart-fetch=={SMART_FETCH_VERSION}")]


def fhir_pyrate_command() -> list[str]:
    """A Python with FHIR-PYrate, in an environment of its own: it needs pandas."""
    _in_environment_of_its_own(FHIR_PYRATE, "tqdm", f"fhir-pyrate=={FHIR_PYRATE_VERSION}")
    return [str(_programs(FHIR_PYRATE) / "python")]


def _programs(environment: Path) -> Path:
    return environment / ("Scripts" if sys.platform == "win32" else "bin")


def _in_environment_of_its_own(folder: Path, program: str, requirement: str) -> str:
    """The path of a program that comes with a package, which is installed where it is not yet."""
    path = _programs(folder) / program
    if shutil.which(path) is None:
        venv.create(folder, clear=True, with_pip=True)
        pip = [str(_programs(folder) / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        _build([*pip, requirement], HERE)
    return str(path)


def run(command: list[str], seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)


def _is_newer(product: Path, sources: list[Path]) -> bool:
    if not product.exists():
        return False
    return product.stat().st_mtime >= max(source.stat().st_mtime for source in sources)


def _build(command: list[str], folder: Path) -> None:
    if complaint := _complaint(tuple(command), folder):
        missing(complaint)


@cache
def _complaint(command: tuple[str, ...], folder: Path) -> str:
    """Build, once; what went wrong, such as a registry that cannot be reached, and empty if nothing did."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False
    )
    return f"{' '.join(command)} failed: {done.stdout}{done.stderr}" if done.returncode else ""
