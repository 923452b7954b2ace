"""A bulk export by smart-fetch: kick-off, polling at Content-Location, the manifest's files."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from .building import run, smart_fetch_command
from .world import PATIENTS, PLAIN, PROXY, SANDBOX, STORING, World


def export(base_url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    options = ["--fhir-url", base_url, "--type", "Encounter,DocumentReference", "--no-compression"]
    return run([*smart_fetch_command(), "bulk", *options, str(folder)])


@pytest.fixture(scope="module", params=[SANDBOX, STORING])
def base_urls(world: World, request: pytest.FixtureRequest) -> dict[str, str]:
    return world.server(request.param).ways


def test_export_completes(base_urls: dict[str, str], tmp_path: Path) -> None:
    done = export(base_urls[PROXY], tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    found = resources(tmp_path)
    assert sum(one["resourceType"] == "Encounter" for one in found) == PATIENTS
    # Each tenth patient has a document.
    documents = [one for one in found if one["resourceType"] == "DocumentReference"]
    assert len(documents) == PATIENTS // 10
    # What the files hold can be had where they say.
    assert all(one["content"][0]["attachment"]["url"].startswith(base_urls[PROXY]) for one in documents)


def test_plain_proxy_exports_nothing(base_urls: dict[str, str], tmp_path: Path) -> None:
    done = export(base_urls[PLAIN], tmp_path)

    assert done.returncode != 0
    assert resources(tmp_path) == []


def resources(folder: Path) -> list[dict]:
    files = [file for file in folder.rglob("*.ndjson") if file.name != "log.ndjson"]
    return [json.loads(line) for file in files for line in file.read_text("utf-8").split("\n") if line]
