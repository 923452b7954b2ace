"""Searches and histories: parameters to criteria, criteria to the resources that match."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from . import dates
from .calls import Call, Reply
from .json_text import text_at
from .outcome import FhirError
from .paging import Paging, bundle_of
from .parameters import Criterion, criterion, known
from .spellings import Links, Pairs
from .store import Store, Version

# Parameters that shape the result instead of choosing resources.
RESULT_PARAMETERS = frozenset(
    {"_count", "_total", "_summary", "_include", "_sort", "_type", "_format", "_pretty"}
)


@dataclass(frozen=True, slots=True)
class Query:
    """A search as understood: `parameters` are those that were, in the order they came."""

    types: frozenset[str]
    criteria: tuple[Criterion, ...]
    parameters: Pairs

    def run(self, store: Store, links: Links) -> list[Version]:
        """Return the resources that match, oldest first."""
        return [
            version
            for version in store.current()
            if (not self.types or version.type in self.types)
            and all(criterion_.matches(version.resource, links) for criterion_ in self.criteria)
        ]


def understand(type_: str, pairs: Pairs, *, strict: bool = False) -> Query:
    """Return the query; unknown parameters are left out, or refused with 400 if `strict`."""
    table = known(type_)
    criteria: list[Criterion] = []
    kept: list[tuple[str, str]] = []
    types = {type_} if type_ else set()
    for name, value in pairs:
        bare, _, modifier = name.partition(":")
        if name == "_type" and not type_:
            types |= set(value.split(","))
        if bare in table:
            criteria.append(criterion(table[bare], modifier, value))
        elif bare not in RESULT_PARAMETERS:
            if strict and name != "ct":
                raise FhirError(400, "not-supported", f"The search parameter '{name}' is not supported.")
            continue
        kept.append((name, value))
    return Query(frozenset(types), tuple(criteria), tuple(kept))


def sorted_by(versions: list[Version], rule: str, type_: str) -> list[Version]:
    """Return the versions in the order of `_sort`, or raise FhirError 400."""
    for name in reversed(rule.split(",")):
        parameter = known(type_).get(name.removeprefix("-"))
        if parameter is None or parameter.kind == "reference":
            raise FhirError(400, "not-supported", f"Sorting by '{name}' is not supported.")
        keys = {
            version.path: min(
                (text for text in parameter.found(version.resource) if isinstance(text, str)), default=""
            )
            for version in versions
        }
        versions = sorted(versions, key=lambda version: keys[version.path], reverse=name.startswith("-"))
    return versions


class Searches:
    """The search and history interactions."""

    def __init__(self, store: Store, paging: Paging) -> None:
        self._store = store
        self._paging = paging

    def search(self, call: Call) -> Reply:
        """Answer a search of a type or of the whole system."""
        type_ = call.names.get("type", "")
        query = understand(type_, call.query, strict=call.prefers("handling=strict"))
        return self._answer(call, query, query.run(self._store, call.links))

    def compartment(self, call: Call) -> Reply:
        """Answer `Patient/id/Type`, or all types for `*`."""
        patient = call.names["id"]
        type_ = call.names["type"].replace("*", "")
        query = understand(type_, call.query, strict=call.prefers("handling=strict"))
        found = [
            version
            for version in query.run(self._store, call.links)
            if f"Patient/{patient}" in references(version, call.links)
        ]
        return self._answer(call, query, found)

    def everything(self, call: Call) -> Reply:
        """Answer `Patient/id/$everything`: the patient, and all that refers to it."""
        patient = self._store.read("Patient", call.names["id"])
        related = [
            version for version in self._store.current() if patient.path in references(version, call.links)
        ]
        parameters = tuple(pair for pair in call.query if pair[0] == "_count")
        return self._paging.search_reply(call, parameters, [patient, *related])

    def _answer(self, call: Call, query: Query, found: list[Version]) -> Reply:
        offset, count = self._paging.window(call)
        if call.parameter("_summary") == "count" or count == 0:
            bundle = bundle_of("searchset", len(found))
            bundle["link"] = self._paging.links(call, query.parameters, 0)
            return Reply(200, resource=bundle)
        if call.parameter("_sort"):
            found = sorted_by(found, call.parameter("_sort"), call.names.get("type", ""))
        total = len(found) if call.parameter("_total") in {"accurate", "estimate"} else None
        included = self._included(call, found[offset : offset + count])
        return self._paging.search_reply(call, query.parameters, found, included, total)

    def _included(self, call: Call, page: list[Version]) -> list[Version]:
        """Return what `_include=Type:parameter` refers to, once each and not what the page holds."""
        present = {version.path for version in page}
        included: dict[str, Version] = {}
        for value in (value for name, value in call.query if name.partition(":")[0] == "_include"):
            source, _, name = value.partition(":")
            parameter = known(source).get(name)
            if parameter is None or parameter.kind != "reference":
                raise FhirError(400, "not-supported", f"_include={value} is not supported.")
            for version in page:
                for found in parameter.found(version.resource) if version.type == source else ():
                    type_, _, id_ = call.links.relative(text_at(found, "reference")).partition("/")
                    target = self._store.newest(type_, id_)
                    if target and not target.deleted and target.path not in present:
                        included[target.path] = target
        return list(included.values())

    def history(self, call: Call) -> Reply:
        """Answer the history of a resource, a type or the system, newest first."""
        versions = self._store.history(call.names.get("type", ""), call.names.get("id", ""))
        parameters = tuple(pair for pair in call.query if pair[0] in {"_count", "_since"})
        since = since_of(call)
        return self._paging.history_reply(call, parameters, [one for one in versions if one.moment >= since])


def since_of(call: Call) -> datetime:
    """Return the moment of `_since`, the beginning of time without it, or raise FhirError 400."""
    text = call.parameter("_since")
    try:
        return dates.interval(text).low if text else datetime.min.replace(tzinfo=UTC)
    except ValueError as error:
        raise FhirError(400, "invalid", f"_since: {error}.") from error


def references(version: Version, links: Links) -> set[str]:
    """Return what a resource says it is about, as `Type/id`."""
    subjects = (version.resource.get("subject"), version.resource.get("patient"))
    return {links.relative(text_at(subject, "reference")) for subject in subjects}
