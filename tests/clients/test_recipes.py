"""The recipes of the README and of docs/tools.md, run as they stand there but for the port; the table of clients."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.admin.snippets import SNIPPETS as SHOWN

from .building import NODE, fhir_pyrate_command, hapi_command, needed, node_command, smart_fetch_command
from .conftest import Reports
from .tours import CLIENTS
from .world import PLAIN, PROXY, SANDBOX, World

ROOT = Path(__file__).parents[2]
README, TOOLS = ((ROOT / name).read_text("utf-8") for name in ("README.md", "docs/tools.md"))
RECIPES = dict(re.findall(r"<!-- recipe: (.+?) -->\n```\w+\n(.*?)```\n", README + TOOLS, re.DOTALL))
SECONDS = 120


def ran(command: list[str], folder: Path, text: str = "", path: Path | None = None) -> str:
    """What a program prints; `path` is a further folder of programs."""
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([*([str(path)] if path else []), os.environ["PATH"]]),
    }
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        input=text,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def printed_count(text: str) -> int:
    return int(text.rsplit(maxsplit=1)[-1])


def shell(code: str) -> list[str]:
    if sys.platform == "win32":
        pytest.skip("the recipes for a shell are for those of Linux and macOS")
    return [needed("bash"), "-euo", "pipefail", "-c", code]


def by_curl(code: str, folder: Path) -> int:
    needed("curl")
    needed("jq")
    return len(ran(shell(code), folder).split())


def by_python(code: str, folder: Path) -> int:
    return printed_count(ran([sys.executable, "-c", code], folder))


def by_node(code: str, _: Path) -> int:
    return printed_count(ran([node_command()[0], "--input-type=module", "-e", code], NODE))


def by_java(code: str, folder: Path) -> int:
    class_path = hapi_command()[-1]
    return printed_count(ran([needed("jshell"), "-s", "--class-path", class_path, "-"], folder, code))


def by_bulk(code: str, folder: Path) -> int:
    programs = Path(smart_fetch_command()[0]).parent
    ran(shell(code), folder, path=programs)
    files = (folder / "export").rglob("*Patient*.ndjson")
    return sum(file.read_text("utf-8").count("\n") for file in files)


def by_pyrate(code: str, folder: Path) -> int:
    return printed_count(ran([*fhir_pyrate_command(), "-c", code], folder))


def by_newman(code: str, folder: Path) -> int:
    node_command()
    printed = ran(shell(code), folder, path=NODE / "node_modules" / ".bin")
    found = re.search(r"'patients:', (\d+)", printed)
    assert found is not None, printed
    return int(found[1])


RUN: dict[str, Callable[[str, Path], int]] = {
    "curl": by_curl,
    "fhirpy": by_python,
    "fhirclient": by_python,
    "fhir-kit-client": by_node,
    "SMART JS client": by_node,
    "HAPI": by_java,
    "bulk": by_bulk,
    "FHIR-PYrate": by_pyrate,
    "Postman": by_newman,
}
UPLOADS = {"Synthea"}


def test_each_recipe_is_run() -> None:
    assert RUN.keys() | UPLOADS == RECIPES.keys()


@pytest.mark.parametrize("name", RUN)
def test_recipe_reaches_every_patient(world: World, tmp_path: Path, name: str) -> None:
    server = world.server(SANDBOX)
    code = RECIPES[name].replace("http://localhost:8080", server.ways[PROXY])
    assert code != RECIPES[name]

    assert RUN[name](code, tmp_path) == world.count(server)


def test_recipe_uploads_what_synthea_made(world: World, tmp_path: Path) -> None:
    """Bundles as Synthea writes them: a practitioner first, to which the patients' own refer by a conditional URL."""
    server = world.server(SANDBOX)
    folder = tmp_path / "output" / "fhir"
    folder.mkdir(parents=True)
    made = [("hospitalInformation1", "Organization"), ("practitionerInformation1", "Practitioner")]
    made += [(f"Ada{number}_Zimmermann", "Patient") for number in range(3)]
    for name, kind in made:
        entry = {"fullUrl": f"urn:uuid:{name}", "resource": {"resourceType": kind}, "request": {"method": "POST", "url": kind}}  # fmt: skip
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
        (folder / f"{name}.json").write_text(json.dumps(bundle), "utf-8")
    before = world.count(server)
    ran(shell(RECIPES["Synthea"].replace("http://localhost:8080", server.ways[PROXY])), tmp_path)

    assert before + 3 == world.count(server)


SNIPPETS = {snippet.tool: snippet for snippet in SHOWN}


def test_snippet_of_the_page_for_java_reads_patients(world: World, tmp_path: Path) -> None:
    server = world.server(SANDBOX)
    one_page = min(50, world.count(server))

    assert by_java(SNIPPETS["Java"].code(server.ways[PROXY]), tmp_path) == one_page


def test_snippet_of_the_page_for_postman_reads_patients(world: World, tmp_path: Path) -> None:
    address = SNIPPETS["Postman"].code(world.server(SANDBOX).ways[PROXY])
    script = [
        "pm.test('a page of patients', () => pm.response.to.have.status(200));",
        "console.log('patients:', pm.response.json().entry.length);",
    ]
    request = {
        "name": "page",
        "request": {"method": "GET", "url": address, "auth": {"type": "noauth"}},
        "event": [{"listen": "test", "script": {"exec": script}}],
    }
    schema = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
    collection = {"info": {"name": "The page's", "schema": schema}, "item": [request]}
    (tmp_path / "page.json").write_text(json.dumps(collection), "utf-8")

    assert by_newman("newman run page.json --reporters cli", tmp_path) == 2


TABLE = re.search(r"<!-- the clients -->\n(.*?)<!-- end -->", README, re.DOTALL)
assert TABLE is not None
ROWS = {
    cells[0].strip(): cells[1].strip()
    for cells in (line.strip("|").split("|") for line in TABLE[1].splitlines()[2:])
}


def test_each_client_has_its_row() -> None:
    clients = {name.partition(",")[0] for name in CLIENTS}

    assert clients | {"smart-fetch (bulk export)", "all of them"} == ROWS.keys()


@pytest.mark.parametrize("client", [name for name in CLIENTS if "," not in name])
def test_row_names_the_error_behind_a_plain_proxy(reports: Reports, client: str) -> None:
    report = reports(client, SANDBOX, PLAIN)
    said = {str(report[step].get("error", "")) for step in ("pages", "reference", "transaction")}
    # HAPI's and the SMART client's own words hold more than the status.
    named = re.findall(r": `(\w+)`", ROWS[client])

    assert len(named) == 1
    assert all(named[0] in error for error in said)
