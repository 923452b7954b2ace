"""Wheels that hold, beside the modules in Python, those that never wait as mypyc compiles them.

Where nothing can be compiled the wheel is pure. FHIR_AUTH_PROXY_PURE=1 asks for that, FHIR_AUTH_PROXY_PURE=0 makes it
an error. An editable install is always pure, so that it shows each change at once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from sysconfig import get_config_var
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# Strict typing is mypy's own run; here a module alone is of interest, and no package that may be installed, so that the
# same comes of it everywhere: nor does it know here what a class of such a package takes (call-arg). -O1 makes programs
# as fast as -O3, in two thirds of the time and half the size.
_BUILD = """
import sys
from mypyc.build import mypycify
from setuptools import Distribution

folder, *modules = sys.argv[1:]
options = ["--config-file=", "--no-site-packages", "--ignore-missing-imports", "--disable-error-code=call-arg",
           f"--cache-dir={folder}/mypy"]
extensions = mypycify([*options, *modules], group_name="_fhir_auth_proxy", target_dir=f"{folder}/c", opt_level="1",
                      debug_level="0", multi_file=True)
build = Distribution({"ext_modules": extensions}).get_command_obj("build_ext")
build.build_temp, build.build_lib = f"{folder}/objects", f"{folder}/modules"
build.ensure_finalized()
build.run()
"""


class BuildHook(BuildHookInterface[BuilderConfig]):
    """Adds compiled modules to a wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, before the wheel is put together."""
        wish = os.environ.get("FHIR_AUTH_PROXY_PURE", "")
        if version == "editable" or wish not in {"", "0"}:
            return
        self._folder = TemporaryDirectory(prefix="compiled-", ignore_cleanup_errors=True)
        try:
            compiled = compile_modules(Path(self.root), self.config["modules"], Path(self._folder.name))
        except NotCompiledError as error:
            self._folder.cleanup()
            if wish == "0":
                raise
            self.app.display_warning(f"The wheel is pure Python, and takes more CPU time: {error}")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["force_include"] |= compiled

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Leave nothing behind."""
        folder = getattr(self, "_folder", None)
        if folder is not None:
            folder.cleanup()


class NotCompiledError(Exception):
    """mypyc or the C compiler has failed, or is not there."""


def compile_modules(root: Path, patterns: list[str], folder: Path) -> dict[str, str]:
    """Compile the modules below `root` that fit the patterns; extension modules in `folder` -> their places in a wheel.

    Nothing is written below `root`. Raises NotCompiledError, which says why.
    """
    modules = sorted(
        {path.relative_to(root).as_posix() for pattern in patterns for path in root.glob(pattern)}
    )
    built = subprocess.run(  # noqa: S603
        [sys.executable, "-P", "-c", _BUILD, str(folder), *modules],
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    places = folder / "modules"
    compiled = sorted(places.rglob(f"*{get_config_var('EXT_SUFFIX')}"))
    if built.returncode or len(compiled) != len(modules) + 1:  # each, and what they share
        raise NotCompiledError(_reason(built.stdout))
    return {str(path): path.relative_to(places).as_posix() for path in compiled}


def _reason(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    told = [line for line in lines if "error" in line.lower() and not line.startswith(("gcc", "cc", "clang"))]
    return (told or lines or ["mypyc said nothing"])[-1]
