"""The tables of docs/errors.md, from the program itself; `python -m tests.documents.tables` writes them anew."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from proxy import errors
from proxy.auth.aadsts import BY_CODE, explain
from proxy.errors import ProxyError

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"
OPERATOR_ONLY = {"ConfigError"}
"""What no tool is answered with."""


def answers() -> Iterator[str]:
    """Each status and issue code that the proxy itself answers with, and when."""
    yield "| status | issue code | when |"
    yield "|---|---|---|"
    classes = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ProxyError)
    ]
    told = [kind for kind in classes if kind is not ProxyError and kind.__name__ not in OPERATOR_ONLY]
    for kind in sorted(told, key=lambda kind: (kind.status, kind.issue_code)):
        when = re.sub(r" \((?:RFC|FHIR).*?\)", "", " ".join((kind.__doc__ or "").split("\n\n")[0].split()))
        yield f"| {kind.status} | `{kind.issue_code}` | {when} |"


def refusals() -> Iterator[str]:
    """Each number of Entra ID that is explained: who has to act, why, what to do."""
    yield "| AADSTS | who | what it means | what to do |"
    yield "|---|---|---|---|"
    rows: dict[tuple[str, str, str], list[int]] = {}
    for code in BY_CODE:
        told = explain([code], "")
        rows.setdefault((str(told.who), told.cause, told.fix), []).append(code)
    for (who, cause, fix), codes in sorted(rows.items(), key=lambda row: min(row[1])):
        yield f"| {', '.join(map(str, sorted(codes)))} | {who} | {_cell(cause)} | {_cell(fix)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


TABLES = {"answers": answers, "refusals": refusals}


def written_anew(text: str) -> str:
    """The page with its tables as they have to be."""
    for name, lines in TABLES.items():
        table = "\n".join(lines())
        text = re.sub(
            rf"(<!-- {name}: start -->\n).*?(<!-- {name}: end -->)",
            lambda found, table=table: f"{found[1]}{table}\n{found[2]}",  # type: ignore[misc]
            text,
            flags=re.DOTALL,
        )
    return text


if __name__ == "__main__":
    PAGE.write_text(written_anew(PAGE.read_text("utf-8")), "utf-8")
