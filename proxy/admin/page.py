"""The status as a page for people: rendered here, every value escaped, no script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Template

FOLDER = Path(__file__).parent

URL_PLACE = "{url}"


@dataclass(frozen=True, slots=True)
class Snippet:
    """What to paste into a tool, with the local base URL where URL_PLACE stands."""

    tool: str
    text: str
    note: str = ""

    def code(self, url: str) -> str:
        """The text for a server."""
        return self.text.replace(URL_PLACE, url)


SNIPPETS = (
    Snippet("curl", "curl '{url}/Patient?_count=2'"),
    Snippet(
        "Python",
        "from fhirpy import SyncFHIRClient\n\n"
        'client = SyncFHIRClient("{url}")\n'
        'for patient in client.resources("Patient").limit(50):\n'
        '    print(patient["id"])',
        "With fhirpy. Every other client takes the same address, and no credentials.",
    ),
    Snippet(
        "R",
        "library(fhircrackr)\n\n"
        'request <- fhir_url(url = "{url}", resource = "Patient")\n'
        "bundles <- fhir_search(request = request, max_bundles = 2)",
        "With fhircrackr.",
    ),
    Snippet(
        "Power BI",
        'let\n    Patients = Fhir.Contents("{url}", null){[Name = "Patient"]}[Data]\nin\n    Patients',
        "In the advanced editor of Power Query in Power BI Desktop. Where it asks how to connect, choose Anonymous.",
    ),
)

STYLE = (FOLDER / "page.css").read_text("utf-8")


def page(status: Mapping[str, object]) -> str:
    """The page for what /api/status tells."""
    return _template().render(status=status, snippets=SNIPPETS)


@cache
def _template() -> Template:
    from jinja2 import (  # noqa: PLC0415  40 ms and 3 MB, and few look at the page
        Environment,
        FileSystemLoader,
        StrictUndefined,
    )

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")
