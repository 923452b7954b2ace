"""The tour that every client makes: what a program does with a FHIR server, step by step.

A report tells for each step the value that came out, or the error; one failed step stops none of the others.
The same steps are in node/tour.js and hapi/src/main/java/Client.java.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from .building import hapi_command, node_command, run
from .python_clients import Client, FhirclientPy, Fhirpy, Json

TAGS = "https://tour.example/tag"
OWN = "urn:uuid:0d5a4a3c-9f0a-4b0e-8a52-6f5c5e1f0001"

STEPS = {
    "sign_in": "reads /metadata: does the server want a sign-in?",
    "pages": "counts the patients on all pages of a search",
    "reference": "follows the absolute reference of an observation to its patient",
    "write": "creates with an absolute reference, reads, updates, reads the history",
    "once": "creates twice with If-None-Exist",
    "transaction": "posts a transaction, reads what came of it where the answer says",
    "search": "searches by an absolute reference",
}


@dataclass(frozen=True)
class Tour:
    """A Python client's tour of the server at `base`; what it creates has the identifier `tag`."""

    client: Client
    base: str
    tag: str

    def sign_in(self) -> object:
        return self.client.wants_sign_in()

    def pages(self) -> object:
        return self.client.count_patients()

    def reference(self) -> object:
        return self.client.subject_of("observation-0007-0")["id"]

    def write(self) -> object:
        created = self.client.create(
            {
                "resourceType": "Patient",
                "name": [{"family": "Created"}],
                "identifier": self._identifiers("-write"),
                "link": [{"type": "seealso", "other": {"reference": f"{self.base}/Patient/patient-0001"}}],
            }
        )
        found = self.client.get(f"Patient/{created['id']}")
        found["name"][0]["family"] = "Updated"
        self.client.update(found)
        versions = [entry["resource"] for entry in self.client.history(created["id"])["entry"]]
        paths = [f"Patient/{one['id']}/_history/{one['meta']['versionId']}" for one in versions]
        return [self.client.get(path)["name"][0]["family"] for path in paths]

    def once(self) -> object:
        patient = {"resourceType": "Patient", "identifier": self._identifiers("-once")}
        condition = f"identifier={TAGS}|{self.tag}-once"
        first, second = (self.client.create(patient, condition) for _ in range(2))
        return first["id"] == second["id"]

    def transaction(self) -> object:
        patient = {"resourceType": "Patient", "identifier": self._identifiers("-transaction")}
        answer = self.client.transaction(
            {
                "resourceType": "Bundle",
                "type": "transaction",
                "entry": [
                    entry(OWN, patient),
                    entry(f"{OWN[:-1]}2", self._observation(OWN)),
                    entry(f"{OWN[:-1]}3", self._observation(f"{self.base}/Patient/patient-0001")),
                ],
            }
        )
        locations = [one["response"]["location"] for one in answer["entry"]]
        return [self.client.get(location)["resourceType"] for location in locations]

    def search(self) -> object:
        bundle = self.client.search("Observation", {"subject": f"{self.base}/Patient/patient-0007"})
        return len(bundle.get("entry", ()))

    def _identifiers(self, suffix: str) -> list[Json]:
        return [{"system": TAGS, "value": self.tag + suffix}]

    def _observation(self, subject: str) -> Json:
        return {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "Tour"},
            "identifier": self._identifiers(""),
            "subject": {"reference": subject},
        }


def entry(full_url: str, resource: Json) -> Json:
    return {
        "fullUrl": full_url,
        "resource": resource,
        "request": {"method": "POST", "url": resource["resourceType"]},
    }


Report = dict[str, dict[str, object]]


def python_report(client: Callable[[str], Client], base: str, tag: str) -> Report:
    tour = Tour(client(base), base, tag)
    report: Report = {}
    for step in STEPS:
        try:
            report[step] = {"value": getattr(tour, step)()}
        except Exception as error:  # noqa: BLE001  # whatever a client raises is what it has to tell
            report[step] = {"error": f"{type(error).__name__}: {error}"}
    return report


def node_report(client: str, base: str, tag: str) -> Report:
    return printed_report([*node_command(), client, base, tag])


def java_report(base: str, tag: str, *options: str) -> Report:
    return printed_report([*hapi_command(), "Client", base, tag, *options])


def printed_report(command: list[str]) -> Report:
    done = run(command)
    if done.returncode:
        pytest.fail(f"{command} failed:\n{done.stdout}\n{done.stderr}", pytrace=False)
    return json.loads(done.stdout)


CLIENTS: dict[str, Callable[[str, str], Report]] = {
    "fhirpy": lambda base, tag: python_report(Fhirpy, base, tag),
    "fhirclient (Python)": lambda base, tag: python_report(FhirclientPy, base, tag),
    "fhir-kit-client": lambda base, tag: node_report("fhir-kit-client", base, tag),
    "SMART JS client": lambda base, tag: node_report("SMART JS client", base, tag),
    "HAPI client": java_report,
    "HAPI client, gzipped XML": lambda base, tag: java_report(base, tag, "XML"),
}
