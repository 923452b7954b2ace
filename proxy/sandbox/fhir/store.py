"""Every version of every resource, in memory."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from .json_text import Resource, write
from .outcome import FhirError, not_found


def utc_now() -> datetime:
    """Return the wall clock."""
    return datetime.now(UTC)


def instant(moment: datetime) -> str:
    """Return a FHIR instant with milliseconds, in UTC."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Version:
    """One version as stored; a deletion is a version whose `text` is empty."""

    type: str
    id: str
    number: int
    moment: datetime
    method: str
    resource: Resource = field(repr=False)
    text: str = field(repr=False)

    @property
    def path(self) -> str:
        """`Type/id`."""
        return f"{self.type}/{self.id}"

    @property
    def history_path(self) -> str:
        """`Type/id/_history/version`."""
        return f"{self.path}/_history/{self.number}"

    @property
    def etag(self) -> str:
        """The weak entity tag, FHIR R4 section 3.1.0.1.3."""
        return f'W/"{self.number}"'

    @property
    def deleted(self) -> bool:
        """Whether this version is a deletion."""
        return not self.text


class Store:
    """Versions by `Type/id`, in the order in which the resources came, and all of them in order of time."""

    def __init__(self, now: Callable[[], datetime] = utc_now) -> None:
        self._now = now
        self._versions: dict[str, tuple[Version, ...]] = {}
        self._log: list[Version] = []

    @property
    def now(self) -> datetime:
        """The present moment by the store's clock."""
        return self._now()

    def write(
        self, resource: Resource, id_: str = "", method: str = "PUT", moment: datetime | None = None
    ) -> Version:
        """Store a resource as the next version, with the server's id and meta, and return it."""
        type_ = str(resource["resourceType"])
        id_ = id_ or str(uuid.uuid4())
        number = len(self._versions.get(f"{type_}/{id_}", ())) + 1
        moment = moment or self._now()
        found = resource.get("meta")
        given = found if isinstance(found, dict) else {}
        meta = {**given, "versionId": str(number), "lastUpdated": instant(moment)}
        rest = {name: value for name, value in resource.items() if name not in {"resourceType", "id", "meta"}}
        stored: Resource = {"resourceType": type_, "id": id_, "meta": meta, **rest}
        return self._add(Version(type_, id_, number, moment, method, stored, write(stored)))

    def delete(self, type_: str, id_: str) -> Version | None:
        """Store a deletion, or return None where there is nothing to delete."""
        versions = self._versions.get(f"{type_}/{id_}", ())
        if not versions or versions[-1].deleted:
            return None
        return self._add(Version(type_, id_, len(versions) + 1, self._now(), "DELETE", {}, ""))

    def _add(self, version: Version) -> Version:
        self._versions[version.path] = (*self._versions.get(version.path, ()), version)
        self._log.append(version)
        return version

    def newest(self, type_: str, id_: str) -> Version | None:
        """Return the newest version, a deletion too, or None."""
        return self._versions.get(f"{type_}/{id_}", (None,))[-1]

    def read(self, type_: str, id_: str) -> Version:
        """Return the current version, or raise FhirError 404 or 410."""
        version = self.newest(type_, id_)
        if version is None:
            raise not_found(type_, id_)
        if version.deleted:
            gone = f"Resource type '{type_}' with id '{id_}' was deleted."
            raise FhirError(410, "deleted", gone, (("ETag", version.etag),))
        return version

    def read_version(self, type_: str, id_: str, number: str) -> Version:
        """Return one version, or raise FhirError 404 or 410."""
        for version in self._versions.get(f"{type_}/{id_}", ()):
            if str(version.number) == number:
                if version.deleted:
                    raise FhirError(410, "deleted", f"Version {number} of '{type_}/{id_}' is a deletion.")
                return version
        raise FhirError(404, "not-found", f"'{type_}/{id_}' has no version {number}.")

    def current(self, type_: str = "") -> Iterator[Version]:
        """Yield the resources there are, oldest first."""
        for versions in self._versions.values():
            if not versions[-1].deleted and type_ in {"", versions[-1].type}:
                yield versions[-1]

    def history(self, type_: str = "", id_: str = "") -> list[Version]:
        """Return versions and deletions, newest first; FhirError 404 for an unknown resource."""
        if id_:
            if self.newest(type_, id_) is None:
                raise not_found(type_, id_)
            return list(reversed(self._versions[f"{type_}/{id_}"]))
        return [version for version in reversed(self._log) if type_ in {"", version.type}]

    def mark(self) -> Callable[[], None]:
        """Return a function that takes back all that was written after this call."""
        versions, length = dict(self._versions), len(self._log)

        def roll_back() -> None:
            self._versions = versions
            del self._log[length:]

        return roll_back
