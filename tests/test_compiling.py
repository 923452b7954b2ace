"""What mypyc compiles into wheels: by rules that keep it safe, and never in the way of an installation."""

from __future__ import annotations

import ast
import sys
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from sysconfig import get_config_var
from typing import Any

import pytest

pytest.importorskip("hatchling", reason="wheels are built with the extra dev")

from hatchling.builders.wheel import WheelBuilder

from hatch_build import BuildHook

ROOT = Path(__file__).parents[1]
BUILD = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]
HOOK = BUILD["targets"]["wheel"]["hooks"]["custom"]
MODULES = sorted({path for pattern in HOOK["modules"] for path in ROOT.glob(pattern)})

SAFE_BASES = {"Exception", "Enum", "StrEnum", "Protocol"}
"""Whose classes mypyc compiles by its own layout, or leaves to Python."""

SUFFIX = str(get_config_var("EXT_SUFFIX"))

needs_a_compiler = pytest.mark.skipif(sys.platform == "win32", reason="a compiler is not on the path there")


def classes(module: Path) -> list[ast.ClassDef]:
    return [node for node in ast.walk(ast.parse(module.read_text("utf-8"))) if isinstance(node, ast.ClassDef)]


COMPILED_CLASSES = {found.name for module in MODULES for found in classes(module)}


def test_each_pattern_names_modules() -> None:
    assert all(list(ROOT.glob(pattern)) for pattern in HOOK["modules"])


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_compiled_class_has_no_base_from_elsewhere(module: Path) -> None:
    bases = {
        ast.unparse(base.value if isinstance(base, ast.Subscript) else base)
        for found in classes(module)
        for base in found.bases
    }

    assert bases <= SAFE_BASES | COMPILED_CLASSES


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_compiled_module_waits_for_nothing(module: Path) -> None:
    waiting = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)

    assert not [node for node in ast.walk(ast.parse(module.read_text("utf-8"))) if isinstance(node, waiting)]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A program of two modules with the real hook."""
    root = tmp_path / "tree"
    (root / "proxy").mkdir(parents=True)
    (root / "proxy" / "__init__.py").write_text("")
    (root / "proxy" / "sums.py").write_text("def double(number: int) -> int:\n    return 2 * number\n")
    (root / "proxy" / "words.py").write_text('def said() -> str:\n    return "this"\n')
    (root / "hatch_build.py").write_text((ROOT / "hatch_build.py").read_text("utf-8"), "utf-8")
    (root / "pyproject.toml").write_text(
        '[project]\nname = "proxy"\nversion = "1"\nrequires-python = ">=3.11"\n'
        "[tool.hatch.build.targets.wheel.hooks.custom]\n"
        'modules = ["proxy/s*.py", "proxy/words.py"]\n'
    )
    return root


def built(root: Path) -> Path:
    """The one wheel that is built."""
    (wheel,) = WheelBuilder(str(root)).build(directory=str(root / "dist"), versions=["standard"])
    return Path(wheel)


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


IN_PYTHON = {"proxy/__init__.py", "proxy/sums.py", "proxy/words.py"}


@needs_a_compiler
def test_wheel_holds_compiled_modules_beside_those_in_python(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FHIR_AUTH_PROXY_PURE", "0")
    before = sorted(tree.rglob("*"))
    wheel = built(tree)

    compiled = {f"proxy/sums{SUFFIX}", f"proxy/words{SUFFIX}", f"_fhir_auth_proxy__mypyc{SUFFIX}"}
    assert IN_PYTHON | compiled == names(wheel)
    assert not wheel.name.endswith("-none-any.whl")
    assert before == [path for path in sorted(tree.rglob("*")) if "dist" not in path.parts]


ENVIRONMENTS: dict[str, Mapping[str, str]] = {
    "asked for": {"FHIR_AUTH_PROXY_PURE": "1"},
    "no compiler": {"FHIR_AUTH_PROXY_PURE": "", "CC": "/there/is/none", "PATH": ""},
}


@needs_a_compiler
@pytest.mark.parametrize("environment", ENVIRONMENTS.values(), ids=list(ENVIRONMENTS))
def test_wheel_is_pure(tree: Path, monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    wheel = built(tree)

    assert names(wheel) == IN_PYTHON
    assert wheel.name.endswith("-py3-none-any.whl")


@needs_a_compiler
def test_missing_compiler_is_told(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FHIR_AUTH_PROXY_PURE", "")
    monkeypatch.setenv("CC", "/there/is/none")
    built(tree)

    told = "".join(capfd.readouterr())
    assert "pure Python" in told
    assert "/there/is/none" in told


@needs_a_compiler
def test_missing_compiler_is_an_error_where_one_is_asked_for(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FHIR_AUTH_PROXY_PURE", "0")
    monkeypatch.setenv("CC", "/there/is/none")
    with pytest.raises(Exception, match="/there/is/none"):
        built(tree)


def test_editable_install_is_pure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FHIR_AUTH_PROXY_PURE", "0")
    build_data: dict[str, Any] = {}
    BuildHook(str(ROOT), HOOK, None, None, "", "wheel").initialize("editable", build_data)  # type: ignore[arg-type]

    assert build_data == {}
