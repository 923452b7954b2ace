"""What the documents link to is there, the headings too; the site is built without a warning."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .blocks import PAGES, ROOT
from .tables import PAGE, written_anew

_LINK = re.compile(r"(?<!`)!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
LINKS = [
    (page, target)
    for page in (*PAGES, ROOT / "bench" / "README.md")
    for target in _LINK.findall(re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL))
    if "://" not in target
]


def anchors(path: Path) -> set[str]:
    """As GitHub makes them of headings: lower case, no punctuation, dashes for spaces."""
    headings = _HEADING.findall(path.read_text("utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("page", "target"), LINKS, ids=[f"{page.name}:{target}" for page, target in LINKS])
def test_link_leads_somewhere(page: Path, target: str) -> None:
    name, _, anchor = target.partition("#")
    path = (page.parent / name).resolve() if name else page

    assert path.exists()
    assert not anchor or anchor in anchors(path)


def test_every_page_is_linked_from_the_first() -> None:
    toctree = (ROOT / "docs" / "index.md").read_text("utf-8")

    assert all(re.search(rf"^{page.stem}$", toctree, re.MULTILINE) for page in (ROOT / "docs").glob("*.md") if page.stem != "index")  # fmt: skip


def test_tables_of_errors_are_those_of_the_program() -> None:
    text = PAGE.read_text("utf-8")

    assert written_anew(text) == text


def test_readme_can_be_read_in_one_go() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 250


def test_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", "-d", str(tmp_path / "trees")]
    result = subprocess.run([*command, str(ROOT / "docs"), str(tmp_path / "site")], check=False, capture_output=True, text=True)  # fmt: skip

    assert 0 == result.returncode, result.stderr
