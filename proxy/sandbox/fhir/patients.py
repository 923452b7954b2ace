"""Synthetic people with encounters, observations and documents; the same ones at every start."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

from .json_text import Number, Resource

SYSTEM = "https://sandbox.example"
EPOCH = datetime(2026, 1, 1, 8, tzinfo=UTC)
"""When the first resource was stored; each later one came a second after the one before."""

FAMILIES = (
    "Sørensen", "Müller", "O'Brien", "Núñez", "Łukasiewicz", "Garcia", "Nguyễn", "Smith", "Dvořák",
    "Papadopoulos", "Иванова", "王", "Okafor", "Öztürk", "van der Berg", "Haddad", "Lindström",
)  # fmt: skip
GIVEN = (
    "Zoë", "José", "Anna", "Søren", "Ελένη", "Amara", "Björn", "Noor", "Chloé", "小龍", "Thomas",
    "Łucja", "Mehmet",
)  # fmt: skip
GENDERS = ("female", "male", "other", "unknown")

# LOINC code, words, unit (UCUM), and values whose trailing zeros are part of what was measured.
MEASURES = (
    ("8867-4", "Heart rate", "/min", ("72.0", "61.0", "88.5", "70.0")),
    ("2160-0", "Creatinine", "mg/dL", ("1.10", "0.90", "1.00", "0.870")),
    ("29463-7", "Body weight", "kg", ("70.50", "102", "64.00", "81.250")),
)

# The smallest PNG there is (1 x 1), and a document with bytes that no text encoding allows.
PHOTO = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
DOCUMENT = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\r\n" + bytes(range(256)) + b"\n%%EOF\n"


def population(count: int, base_url: str) -> Iterator[Resource]:
    """Yield the resources of so many patients; some of them hold addresses below the base URL."""
    for number in range(1, count + 1):
        yield patient(number, base_url)
        yield encounter(number, base_url)
        for measure in range(len(MEASURES)):
            yield observation(number, measure, base_url)
        if number % 10 == 0:
            yield binary(f"photo-{number:04}", "image/png", PHOTO)
            yield binary(f"document-{number:04}", "application/pdf", DOCUMENT)
            yield document(number, base_url)


def patient(number: int, base_url: str) -> Resource:
    """Return a patient; each tenth has a photo on this server and a narrative that names its address."""
    family, given = FAMILIES[number % len(FAMILIES)], GIVEN[number % len(GIVEN)]
    id_ = f"patient-{number:04}"
    birth = date(1930, 1, 1) + timedelta(days=number * 7919 % 33_000)
    words = f"{given} {family}"
    if number % 10 == 0:
        words = f'<a href="{base_url}/Patient/{id_}">{words}</a>'
    resource: Resource = {
        "resourceType": "Patient",
        "id": id_,
        "text": {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{words}</div>'},
        "identifier": [{"system": f"{SYSTEM}/mrn", "value": f"MRN{number:06}"}],
        "active": number % 13 != 0,
        "name": [{"use": "official", "family": family, "given": [given]}],
        "telecom": [{"system": "phone", "value": f"+00 555 {number:04}", "use": "home"}],
        "gender": GENDERS[number % 2 if number % 25 else 2 + number % 2],
        "birthDate": birth.isoformat(),
        "address": [{"city": "Sandbox", "postalCode": f"{number:05}", "country": "XX"}],
    }
    if number % 10 == 0:
        url = f"{base_url}/Binary/photo-{number:04}"
        resource["photo"] = [{"contentType": "image/png", "url": url, "size": len(PHOTO)}]
    return resource


def subject(number: int, base_url: str) -> Resource:
    """Return the reference to a patient; each seventh is absolute, as some sources send it."""
    path = f"Patient/patient-{number:04}"
    return {"reference": f"{base_url}/{path}" if number % 7 == 0 else path}


def day(number: int) -> datetime:
    """Return the day on which a patient came."""
    return datetime(2024, 1, 1, 9, tzinfo=UTC) + timedelta(days=number * 37 % 700, minutes=number % 60)


def encounter(number: int, base_url: str) -> Resource:
    """Return a patient's visit."""
    start, end = day(number), day(number) + timedelta(minutes=20)
    return {
        "resourceType": "Encounter",
        "id": f"encounter-{number:04}",
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "subject": subject(number, base_url),
        "period": {"start": start.isoformat(), "end": end.isoformat()},
    }


def observation(number: int, measure: int, base_url: str) -> Resource:
    """Return one measurement of a visit."""
    code, display, unit, values = MEASURES[measure]
    value = values[number % len(values)]
    category = {"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}
    return {
        "resourceType": "Observation",
        "id": f"observation-{number:04}-{measure}",
        "status": "final",
        "category": [{"coding": [category]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": code, "display": display}]},
        "subject": subject(number, base_url),
        "encounter": {"reference": f"Encounter/encounter-{number:04}"},
        "effectiveDateTime": day(number).isoformat(),
        "valueQuantity": {
            "value": Number(value) if "." in value else int(value),
            "unit": unit,
            "system": "http://unitsofmeasure.org",
            "code": unit,
        },
    }


def document(number: int, base_url: str) -> Resource:
    """Return a document whose content is a Binary of this server."""
    url = f"{base_url}/Binary/document-{number:04}"
    attachment = {"contentType": "application/pdf", "url": url, "size": len(DOCUMENT)}
    return {
        "resourceType": "DocumentReference",
        "id": f"document-{number:04}",
        "status": "current",
        "type": {"coding": [{"system": "http://loinc.org", "code": "34133-9"}]},
        "subject": subject(number, base_url),
        "date": day(number).isoformat(),
        "content": [{"attachment": attachment}],
    }


def binary(id_: str, content_type: str, data: bytes) -> Resource:
    """Return a Binary."""
    return {
        "resourceType": "Binary",
        "id": id_,
        "contentType": content_type,
        "data": base64.b64encode(data).decode(),
    }
