"""Wheels that hold, beside the modules in Python, those that never wait as mypyc compiles them.

Where nothing can be compiled the wheel is pure. FHIR_AUTH_PROXY_PURE=1 asks for that, FHIR_AUTH_PROXY_PURE=0 makes it
an error. An editable install is always pure, so that it shows each change at once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from sysconfig import get_config_var
from tempfile import mkdtemp
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# Strict typing is mypy's own run; here the dependencies are absent, and a module alone is of interest. -O1 makes
# programs as fast as -O3, in two thirds of the time and half the size.
_SETUP = """
import sys
from mypyc.build import mypycify
from setuptools import setup

options = ["--config-file=", "--ignore-missing-imports", "--cache-dir=mypy"]
modules = mypycify([*options, *sys.argv[1:]], group_name="fhir_auth_proxy", opt_level="1", debug_level="0",
                   multi_file=True)
setup(name="fhir-auth-proxy", packages=[], ext_modules=modules, script_args=["build_ext", "--inplace"])
"""


class BuildHook(BuildHookInterface[BuilderConfig]):
    """Adds compiled modules to a wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, before the wheel is put together."""
        wish = os.environ.get("FHIR_AUTH_PROXY_PURE", "")
        if version == "editable" or wish not in {"", "0"}:
            return
        self._folder = Path(mkdtemp())
        try:
            compiled = compile_modules(Path(self.root), self.config["modules"], self._folder)
        except NotCompiledError as error:
            if wish == "0":
                raise
            self.app.display_warning(f"The wheel is pure Python, and takes more CPU time: {error}")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["force_include"] |= {str(path): str(path.relative_to(self._folder)) for path in compiled}

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Leave nothing behind."""
        folder = getattr(self, "_folder", None)
        if folder is not None:
            shutil.rmtree(folder)


class NotCompiledError(Exception):
    """mypyc or the C compiler has failed, or is not there."""


def compile_modules(root: Path, patterns: list[str], folder: Path) -> list[Path]:
    """Compile the modules below `root` that fit the patterns; the extension modules, in an empty `folder`.

    Raises NotCompiledError, which says why.
    """
    shutil.copytree(
        root / "proxy", folder / "proxy", ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.pyd")
    )
    modules = sorted(
        {path.relative_to(root).as_posix() for pattern in patterns for path in root.glob(pattern)}
    )
    # The same bytes wherever and by whomever it is built: no paths, no symbols of a debugger.
    flags = "" if sys.platform == "win32" else f"-g0 -ffile-prefix-map={folder}=."
    built = subprocess.run(  # noqa: S603
        [sys.executable, "-c", _SETUP, *modules],
        cwd=folder,
        env={**os.environ, "CFLAGS": f"{os.environ.get('CFLAGS', '')} {flags}".strip()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    suffix = str(get_config_var("EXT_SUFFIX"))
    compiled = [*folder.glob(f"*{suffix}"), *(folder / "proxy").rglob(f"*{suffix}")]
    if built.returncode or len(compiled) != len(modules) + 1:  # each, and what they share
        raise NotCompiledError(_reason(built.stdout))
    return sorted(compiled)


def _reason(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    told = [line for line in lines if "error" in line.lower() and not line.startswith(("gcc", "cc", "clang"))]
    return (told or lines or ["mypyc said nothing"])[-1]
