"""Bulk export (FHIR Bulk Data Access 2.0): kick-off, polling, manifest, NDJSON files, cancelling."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Protocol

from .calls import NDJSON, Call, Reply, plain_json
from .json_text import Link
from .outcome import FhirError
from .search import references, since_of
from .spellings import Page
from .store import Store, Version, instant

PATIENT_TYPES = frozenset({"Patient", "Encounter", "Observation", "DocumentReference"})
"""What `/Patient/$export` gives, of the types that the sandbox's own data has."""


class Destination(Protocol):
    """Where the files of exports lie if not on this server."""

    def keep(self, path: str, body: bytes) -> str:
        """Store a file; its URL."""


@dataclass(slots=True)
class Job:
    """One export: its files are made at kick-off; `polls_left` answers say that it is still at work."""

    request: str
    moment: str
    polls_left: int
    files: dict[str, list[str]] = field(repr=False)


class Exports:
    """The exports that are under way or finished.

    `polls` answers of 202 come before the manifest. With a `destination` the files go there and the manifest
    leads there, as Azure's leads to a storage account.
    """

    def __init__(self, store: Store, polls: int, destination: Destination | None) -> None:
        self._store = store
        self._polls = polls
        self._destination = destination
        self._jobs: dict[str, Job] = {}

    def kick_off(self, call: Call) -> Reply:
        """Start an export: 202 and the address to poll, or FhirError 400 without `respond-async`."""
        if not call.prefers("respond-async"):
            raise FhirError(400, "invalid", "The Prefer field must be 'respond-async' for an export.")
        wanted = {type_ for name, value in call.query if name == "_type" for type_ in value.split(",")}
        since = since_of(call)
        files: dict[str, list[str]] = {}
        for version in self._store.current():
            if version.moment >= since and self._is_wanted(version, call, wanted):
                files.setdefault(version.type, []).append(version.text)
        id_ = str(uuid.uuid4())
        request = call.links.page(Page(call.path, call.query)) if call.query else call.links.to(call.path)
        self._jobs[id_] = Job(request, instant(self._store.now), self._polls, files)
        return Reply(202, (("Content-Location", str(call.links.to(f"_operations/export/{id_}"))),))

    def _is_wanted(self, version: Version, call: Call, wanted: set[str]) -> bool:
        if wanted and version.type not in wanted:
            return False
        if "type" not in call.names:
            return True
        about_patients = version.type == "Patient" or any(
            reference.startswith("Patient/") for reference in references(version, call.links)
        )
        return version.type in PATIENT_TYPES and about_patients

    def poll(self, call: Call) -> Reply:
        """Answer 202 with X-Progress, later the manifest."""
        job = self._job(call)
        if job.polls_left > 0:
            job.polls_left -= 1
            return Reply(202, (("X-Progress", "In-progress"), ("Retry-After", "1")))
        output = [
            {"type": type_, "url": self._file_url(call, type_, lines), "count": len(lines)}
            for type_, lines in job.files.items()
        ]
        manifest = {
            "transactionTime": job.moment,
            "request": Link(job.request),
            # Microsoft's server says false whatever the files need; its own files need a storage token.
            "requiresAccessToken": False,
            "output": output,
            "error": [],
        }
        return plain_json(manifest, call.links)

    def _file_url(self, call: Call, type_: str, lines: list[str]) -> str:
        path = f"{call.names['job']}/{type_}-1.ndjson"
        if self._destination is None:
            return call.links.to(f"_files/{path}")
        return self._destination.keep(path, _ndjson(lines))

    def file(self, call: Call) -> Reply:
        """Answer a file, one resource to a line."""
        lines = self._job(call).files.get(call.names["type"])
        if lines is None:
            raise FhirError(404, "not-found", f"The export holds no {call.names['type']}.")
        return Reply(200, (("Content-Type", NDJSON),), _ndjson(lines))

    def cancel(self, call: Call) -> Reply:
        """Forget an export: 202; after that it is 404."""
        self._job(call)
        del self._jobs[call.names["job"]]
        return Reply(202)

    def _job(self, call: Call) -> Job:
        job = self._jobs.get(call.names["job"])
        if job is None:
            raise FhirError(404, "not-found", f"There is no export '{call.names['job']}'.")
        return job


def _ndjson(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
