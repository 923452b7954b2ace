"""What is asked for, and how it must arrive."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import dataclass
from pathlib import Path

BASE_PATH = "/fhir"

EXPORT_BYTES = 200_000_000

LINKS = 49
"""Entries of the Bundle, each with a `fullUrl` under the server's base."""


@dataclass(frozen=True, slots=True)
class Payload:
    """One request: its target below the base, the file behind it, and what a tool says about it."""

    name: str
    target: str
    file: str
    media_type: str
    method: str = "GET"
    coding: str = ""

    @property
    def is_large(self) -> bool:
        """Whether it is downloaded once a round instead of many times a second."""
        return self.name == "NDJSON 200 MB"


PATIENT = Payload("Patient", "/Patient/1", "patient.json", "application/fhir+json")
BUNDLE = Payload("Bundle", "/Patient", "bundle.json", "application/fhir+json")
GZIP = Payload("gzip Bundle", "/Observation", "bundle.json.gz", "application/fhir+json", coding="gzip")
PUT = Payload("PUT 60 KB", "/Bundle/1", "put.json", "application/fhir+json", method="PUT")
EXPORT = Payload("NDJSON 200 MB", "/_files/1.ndjson", "export.ndjson", "application/fhir+ndjson")

PAYLOADS = (PATIENT, BUNDLE, GZIP, PUT, EXPORT)


def write_payloads(folder: Path, base: str, *, export_bytes: int = EXPORT_BYTES) -> None:
    """Write the bodies of a server whose base URL is `base`."""
    (folder / PATIENT.file).write_bytes(_patient(0))
    bundle = _bundle(base)
    (folder / BUNDLE.file).write_bytes(bundle)
    (folder / GZIP.file).write_bytes(gzip.compress(bundle, mtime=0))
    (folder / PUT.file).write_bytes(_bundle("http://elsewhere.example/fhir"))
    with (folder / EXPORT.file).open("wb") as file:
        block = b"".join(_observation(base, number) for number in range(1000))
        for _ in range(max(1, export_bytes // len(block))):
            file.write(block)


def rewritten(body: bytes, base: str, local_base: str) -> bytes:
    """What a proxy that rewrites has to make of a body; the payloads hold the base as an address alone."""
    return re.sub(re.escape(base.encode()) + rb"(?=[/?])", local_base.encode(), body)


def _patient(number: int) -> bytes:
    patient = {
        "resourceType": "Patient",
        "id": f"{number:04}",
        "meta": {"versionId": "1", "lastUpdated": "2026-01-05T08:30:00.000+00:00"},
        "text": {
            "status": "generated",
            "div": '<div xmlns="http://www.w3.org/1999/xhtml">' + "x" * 300 + "</div>",
        },
        "identifier": [{"system": "urn:oid:2.16.840.1.113883.2.4.6.3", "value": f"{number:09}"}],
        "active": True,
        "name": [{"use": "official", "family": "Chalmers", "given": ["Peter", "James"]}],
        "telecom": [{"system": "phone", "value": "(03) 5555 6473", "use": "work", "rank": 1}],
        "gender": "male",
        "birthDate": "1974-12-25",
        "address": [
            {
                "use": "home",
                "type": "both",
                "text": "534 Erewhon St PeasantVille, Rainbow, Vic 3999",
                "line": ["534 Erewhon St"],
                "city": "PleasantVille",
                "district": "Rainbow",
                "state": "Vic",
                "postalCode": "3999",
            }
        ],
        "contact": [
            {"relationship": [{"text": "N"}], "name": {"family": "du Marché", "given": ["Bénédicte"]}}
        ],
    }
    return json.dumps(patient, ensure_ascii=False).encode()


def _bundle(base: str) -> bytes:
    entries = [
        {
            "fullUrl": f"{base}/Patient/{number:04}",
            "resource": json.loads(_patient(number)),
            "search": {"mode": "match"},
        }
        for number in range(LINKS)
    ]
    link = [{"relation": "next", "url": f"{base}/Patient?_count={LINKS}&ct=abc"}]
    bundle = {"resourceType": "Bundle", "type": "searchset", "link": link, "entry": entries}
    return json.dumps(bundle, ensure_ascii=False).encode()


def _observation(base: str, number: int) -> bytes:
    observation = {
        "resourceType": "Observation",
        "id": f"{number:05}",
        "status": "final",
        "text": {
            "status": "generated",
            "div": '<div xmlns="http://www.w3.org/1999/xhtml">' + "y" * 900 + "</div>",
        },
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4", "display": "Heart rate"}]},
        "subject": {"reference": f"{base}/Patient/{number:05}"},
        "valueQuantity": {"value": 72.50, "unit": "/min", "system": "http://unitsofmeasure.org"},
    }
    return json.dumps(observation).encode() + b"\n"
