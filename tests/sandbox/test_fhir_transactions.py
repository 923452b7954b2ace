from __future__ import annotations

import json

import pytest

from .fhir_running import running

URN = "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a"


def entry(
    method: str, url: str, resource: object = None, full_url: str = "", **request: str
) -> dict[str, object]:
    found: dict[str, object] = {"request": {"method": method, "url": url, **request}}
    if resource is not None:
        found["resource"] = resource
    return {**found, "fullUrl": full_url} if full_url else found


def bundle(type_: str, *entries: object) -> dict[str, object]:
    return {"resourceType": "Bundle", "type": type_, "entry": list(entries)}


def observation(reference: str, **more: object) -> dict[str, object]:
    return {"resourceType": "Observation", "status": "final", "subject": {"reference": reference}, **more}


async def test_a_transaction_resolves_references_and_keeps_the_order_of_entries() -> None:
    async with running() as ask:
        base = ask.server.base_url
        answer = await ask(
            "POST",
            "",
            bundle(
                "transaction",
                entry("GET", "Observation?subject=Patient/put"),
                entry("POST", "Observation", observation(URN), "urn:uuid:other"),
                entry("PUT", "Patient/put", {"resourceType": "Patient", "id": "put"}, "urn:uuid:put"),
                entry("POST", f"{base}/Patient", {"resourceType": "Patient"}, URN),
                entry("POST", "Observation", observation("urn:uuid:put")),
                entry("DELETE", "Patient/patient-0001"),
                entry(
                    "POST",
                    "Patient",
                    {"resourceType": "Patient"},
                    "urn:uuid:2",
                    ifNoneExist="identifier=MRN000002",
                ),
                entry(
                    "PUT",
                    "Patient/patient-0003",
                    {"resourceType": "Patient", "id": "patient-0003"},
                    ifMatch='W/"1"',
                ),
            ),
        )

        assert (answer.status, answer.json["type"]) == (200, "transaction-response")
        entries = answer.json["entry"]
        statuses = [one["response"]["status"] for one in entries]
        assert statuses == ["200", "201", "201", "201", "201", "204", "200", "200"]
        patient, observed = entries[3]["resource"]["id"], entries[1]["resource"]
        assert f"Patient/{patient}" == observed["subject"]["reference"]
        assert f"{base}/Patient/{patient}/_history/1" == entries[3]["response"]["location"]
        assert entries[3]["response"]["etag"] == 'W/"1"'
        assert entries[4]["resource"]["subject"]["reference"] == "Patient/put"
        assert len(entries[0]["resource"]["entry"]) == 1
        assert entries[6]["resource"]["id"] == "patient-0002"
        assert (await ask("GET", "Patient/patient-0001")).status == 410


async def test_conditional_references_are_resolved_or_refused() -> None:
    async with running() as ask:
        good = await ask(
            "POST",
            "",
            bundle("transaction", entry("POST", "Observation", observation("Patient?identifier=MRN000002"))),
        )
        bad = await ask(
            "POST",
            "",
            bundle("transaction", entry("POST", "Observation", observation("Patient?gender=male"))),
        )

        assert good.json["entry"][0]["resource"]["subject"]["reference"] == "Patient/patient-0002"
        assert bad.status == 412


async def test_a_failing_transaction_stores_nothing() -> None:
    async with running() as ask:
        before = (await ask("GET", "_history?_count=1000")).json["total"]
        answer = await ask(
            "POST",
            "",
            bundle(
                "transaction",
                entry("PUT", "Patient/new", {"resourceType": "Patient", "id": "new"}),
                entry("DELETE", "Patient/patient-0001"),
                entry(
                    "PUT",
                    "Patient/patient-0002",
                    {"resourceType": "Patient", "id": "patient-0002"},
                    ifMatch='W/"9"',
                ),
            ),
        )

        assert (answer.status, answer.json["resourceType"]) == (412, "OperationOutcome")
        assert before == (await ask("GET", "_history?_count=1000")).json["total"]
        assert [(await ask("GET", f"Patient/{id_}")).status for id_ in ("new", "patient-0001")] == [404, 200]


async def test_the_entries_of_a_batch_are_independent() -> None:
    async with running() as ask:
        answer = await ask(
            "POST",
            "",
            bundle(
                "batch",
                entry("GET", "Patient/patient-0001"),
                entry("GET", "Patient/patient-9999"),
                entry("POST", "Patient", {"resourceType": "Patient"}),
                entry("GET", "Binary/photo-0010"),
                entry("SING", "Patient"),
            ),
        )

        entries = answer.json["entry"]
        assert [one["response"]["status"] for one in entries] == ["200", "404", "201", "200", "400"]
        assert entries[1]["response"]["outcome"]["issue"][0]["code"] == "not-found"
        assert entries[3]["resource"]["resourceType"] == "Binary"


async def test_decimals_survive_a_transaction() -> None:
    async with running() as ask:
        text = json.dumps(
            bundle("transaction", entry("PUT", "Observation/o", {**observation("Patient/x"), "id": "o"}))
        )
        await ask("POST", "", text.replace('"final"', '"final","valueQuantity":{"value":1.100}'))

        assert '{"value":1.100}' in ask.server.stored("Observation", "o")


REFUSED = (
    (bundle("collection"), 400),
    ({"resourceType": "Patient"}, 400),
    (bundle("transaction", entry("SING", "Patient")), 400),
    (bundle("transaction", entry("GET", "nonsense")), 404),
    (bundle("transaction", *[entry("GET", "Patient?_count=1")] * 501), 400),
    (bundle("batch", *[entry("GET", "Patient?_count=1")] * 500), 200),
)


@pytest.mark.parametrize(("body", "status"), REFUSED)
async def test_a_bundle_has_a_type_known_methods_and_500_entries_at_most(body: object, status: int) -> None:
    async with running() as ask:
        assert status == (await ask("POST", "", body)).status
