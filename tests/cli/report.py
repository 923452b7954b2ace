"""A report as an analyst writes it: it knows fhirpy and FHIR_BASE_URL, and nothing of a proxy or a token."""

from __future__ import annotations

import os

from fhirpy import SyncFHIRClient

client = SyncFHIRClient(os.environ["FHIR_BASE_URL"])
patients = client.resources("Patient").limit(4).fetch_all()
print(len(patients), len({patient["id"] for patient in patients}))  # noqa: T201
