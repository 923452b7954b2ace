"""The blocks of code in the documents, each with its language and its place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / ".github" / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md")))

_BLOCK = re.compile(r"^( *)```(\S*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_RECIPE = re.compile(r"<!-- recipe: (.+?) -->\n\Z")


@dataclass(frozen=True)
class Block:
    page: str
    language: str
    code: str
    recipe: str
    """Its name where tests/clients runs it."""

    @property
    def name(self) -> str:
        """Page and first line, which tell blocks apart."""
        return f"{self.page}: {self.code.splitlines()[0][:70]}"


def blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text("utf-8")
        for found in _BLOCK.finditer(text):
            recipe = _RECIPE.search(text[: found.start()])
            yield Block(page.name, found[2], dedent(found[3]), recipe[1] if recipe else "")
