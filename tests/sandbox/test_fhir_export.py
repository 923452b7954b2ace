from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest

from .fhir_running import PATIENTS, Answered, Client, running

ASYNC = {"Prefer": "respond-async", "Accept": "application/fhir+json"}


async def manifest_of(ask: Client, target: str) -> Answered:
    kicked = await ask("GET", target, **ASYNC)
    assert (kicked.status, kicked.body) == (202, b"")
    waiting = await ask("GET", kicked.fields["Content-Location"])
    assert (waiting.status, waiting.fields["X-Progress"]) == (202, "In-progress")
    return await ask("GET", kicked.fields["Content-Location"])


KICK_OFFS = (
    # target, resources by type
    (
        "$export",
        {
            "Patient": PATIENTS,
            "Encounter": PATIENTS,
            "Observation": 90,
            "Binary": 6,
            "DocumentReference": 3,
            "Basic": 1,
        },
    ),
    (
        "Patient/$export",
        {"Patient": PATIENTS, "Encounter": PATIENTS, "Observation": 90, "DocumentReference": 3},
    ),
    ("$export?_type=Patient,Binary", {"Patient": PATIENTS, "Binary": 6}),
    ("$export?_since=2026-02-01T00:00:00Z", {"Basic": 1}),
)


@pytest.mark.parametrize(("target", "counts"), KICK_OFFS)
async def test_an_export_gives_every_resource_once(target: str, counts: dict[str, int]) -> None:
    async with running() as ask:
        await ask("PUT", "Basic/b", {"resourceType": "Basic", "id": "b", "note": "a\u2028b"})
        manifest = (await manifest_of(ask, target)).json

        assert False is manifest["requiresAccessToken"]
        assert f"{ask.server.base_url}/{target.partition('?')[0]}" == manifest["request"].partition("?")[0]
        assert counts == {output["type"]: output["count"] for output in manifest["output"]}
        for output in manifest["output"]:
            file = await ask("GET", output["url"])
            lines = file.body.decode().split("\n")
            assert (file.fields["Content-Type"], lines.pop()) == ("application/fhir+ndjson", "")
            assert output["count"] == len({json.loads(line)["id"] for line in lines})


async def test_a_cancelled_export_is_gone() -> None:
    async with running() as ask:
        kicked = await ask("GET", "$export", **ASYNC)
        place = kicked.fields["Content-Location"]

        assert [(await ask(method, place)).status for method in ("DELETE", "GET", "DELETE")] == [
            202,
            404,
            404,
        ]


REFUSED = (
    ({}, "$export", 400),
    (ASYNC, "$export?_since=never", 400),
    (ASYNC, "Observation/$export", 404),
    ({}, "_files/00000000-0000-0000-0000-000000000000/Patient-1.ndjson", 404),
)


@pytest.mark.parametrize(("fields", "target", "status"), REFUSED)
async def test_a_senseless_export_is_refused(fields: dict[str, str], target: str, status: int) -> None:
    async with running() as ask:
        assert status == (await ask("GET", target, **fields)).status


async def test_a_missing_file_is_not_found() -> None:
    async with running() as ask:
        manifest = (await manifest_of(ask, "$export?_type=Patient")).json
        other = manifest["output"][0]["url"].replace("Patient-1", "Observation-1")

        assert (await ask("GET", other)).status == 404


ACCOUNT = "https://account.blob.example"


class Account:
    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def keep(self, path: str, body: bytes) -> str:
        self.files[path] = body
        return f"{ACCOUNT}/{path}"


async def test_files_can_lie_in_a_storage_account_elsewhere() -> None:
    account = Account()
    async with running(export_to=account, export_polls=0) as ask:
        kicked = await ask("GET", "Patient/$export?_type=Patient", **ASYNC)
        manifest = (await ask("GET", kicked.fields["Content-Location"])).json

        job = kicked.fields["Content-Location"].rpartition("/")[2]
        assert [one["url"] for one in manifest["output"]] == [f"{ACCOUNT}/{job}/Patient-1.ndjson"]
        assert account.files[f"{job}/Patient-1.ndjson"].count(b"\n") == PATIENTS
        assert urlsplit(ask.server.base_url).netloc == urlsplit(manifest["request"]).netloc
