"""Transactions and batches: entries in the order of FHIR R4 section 3.1.0.11.2, references resolved."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from urllib.parse import unquote, urlsplit

from multidict import CIMultiDict

from .calls import Call, Reply
from .instances import Instances
from .json_text import Link, Resource, at, read, text_at, write
from .outcome import FhirError
from .paging import bundle_of
from .search import understand
from .spellings import Links, query_pairs
from .store import Store

MOST_ENTRIES = 500
"""BundleConfiguration.EntryLimit of Microsoft's server."""
ORDER = ("DELETE", "POST", "PUT", "PATCH", "GET", "HEAD")
# The element of entry.request that carries each field.
CONDITIONS = {"ifNoneExist": "If-None-Exist", "ifMatch": "If-Match", "ifNoneMatch": "If-None-Match"}


class Transactions:
    """Processes Bundles; `answer` is the server's own way to answer one call."""

    def __init__(self, store: Store, instances: Instances, answer: Callable[[Call], Reply]) -> None:
        self._store = store
        self._instances = instances
        self._answer = answer

    def process(self, call: Call) -> Reply:
        """Answer a Bundle of type transaction or batch, or raise FhirError."""
        bundle = call.resource()
        type_ = text_at(bundle, "type")
        if bundle["resourceType"] != "Bundle" or type_ not in {"transaction", "batch"}:
            raise FhirError(400, "invalid", "The base takes a Bundle of type transaction or batch.")
        entries = [entry for entry in at(bundle, "entry") if isinstance(entry, dict)]
        if len(entries) > MOST_ENTRIES:
            exceeded = f"The number of entries in the bundle exceeded the configured limit of {MOST_ENTRIES}."
            raise FhirError(400, "too-costly", exceeded)
        answers = self._transaction(call, entries) if type_ == "transaction" else self._batch(call, entries)
        return Reply(200, resource={**bundle_of(f"{type_}-response"), "entry": answers})

    def _batch(self, call: Call, entries: list[Resource]) -> list[object]:
        answers: list[object] = []
        for entry in entries:
            try:
                reply = self._answer(entry_call(call, entry, {}))
            except FhirError as error:
                reply = Reply(error.status, error.fields, resource=error.outcome())
            answers.append(entry_answer(reply))
        return answers

    def _transaction(self, call: Call, entries: list[Resource]) -> list[object]:
        roll_back = self._store.mark()
        replies: dict[int, Reply] = {}
        try:
            ids = self._identities(call, entries)
            targets = {text_at(entries[index], "fullUrl"): path for index, path in ids.items()}
            for index in sorted(range(len(entries)), key=lambda index: order_of(entries[index])):
                inner = entry_call(
                    call, entries[index], self._with_conditional(call, entries[index], targets)
                )
                if index in ids and inner.method == "POST":
                    type_, _, id_ = ids[index].partition("/")
                    inner = replace(inner, names={"type": type_})
                    replies[index] = self._instances.created(inner, read(inner.body), id_)
                else:
                    replies[index] = self._answer(inner)
        except FhirError:
            roll_back()
            raise
        return [entry_answer(replies[index]) for index in range(len(entries))]

    def _identities(self, call: Call, entries: list[Resource]) -> dict[int, str]:
        """Return the `Type/id` that each entry with a resource will have."""
        ids: dict[int, str] = {}
        for index, entry in enumerate(entries):
            method, path = text_at(entry, "request.method"), entry_path(entry, call.links)
            if method == "PUT" and "/" in path:
                ids[index] = path
            elif method == "POST" and path.isalpha():
                condition = query_pairs(text_at(entry, "request.ifNoneExist"))
                found = understand(path, condition).run(self._store, call.links) if condition else []
                if not found:
                    ids[index] = f"{path}/{uuid.uuid4()}"
        return ids

    def _with_conditional(self, call: Call, entry: Resource, targets: Mapping[str, str]) -> Mapping[str, str]:
        """Return the targets and what conditional references (`Patient?identifier=…`) of the entry mean."""
        found: dict[str, str] = {}
        for reference in every_reference(entry.get("resource")):
            type_, mark, query = reference.partition("?")
            if mark and type_.isalpha():
                matches = understand(type_, query_pairs(query), strict=True).run(self._store, call.links)
                if len(matches) != 1:
                    raise FhirError(
                        412, "conflict", f"'{reference}' matches {len(matches)} resources, not one."
                    )
                found[reference] = matches[0].path
        return {**targets, **found}


def order_of(entry: Resource) -> int:
    """Return the place of the entry's method, or raise FhirError 400."""
    method = text_at(entry, "request.method")
    if method not in ORDER:
        raise FhirError(400, "invalid", f"entry.request.method '{method}' is not supported.")
    return ORDER.index(method)


def entry_path(entry: Resource, links: Links) -> str:
    """Return the path of request.url below the base; Microsoft's server, too, ignores scheme and host."""
    path = unquote(urlsplit(text_at(entry, "request.url")).path)
    return path.removeprefix(urlsplit(links.base).path).strip("/")


def entry_call(call: Call, entry: Resource, targets: Mapping[str, str]) -> Call:
    """Return the call that an entry stands for, its references resolved."""
    order_of(entry)
    fields = CIMultiDict({"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"})
    for element, field in CONDITIONS.items():
        condition = text_at(entry, f"request.{element}")
        if condition:
            fields[field] = condition
    resource = entry.get("resource")
    return Call(
        method=text_at(entry, "request.method"),
        path=entry_path(entry, call.links),
        query=query_pairs(urlsplit(text_at(entry, "request.url")).query),
        fields=fields,
        body=b"" if resource is None else write(resolved(resource, targets)).encode(),
        links=call.links,
    )


def resolved(value: object, targets: Mapping[str, str]) -> object:
    """Return a copy in which each `reference` to a fullUrl of the Bundle is a relative one."""
    match value:
        case dict():
            return {
                name: targets.get(item, item)
                if name == "reference" and isinstance(item, str)
                else resolved(item, targets)
                for name, item in value.items()
            }
        case list():
            return [resolved(item, targets) for item in value]
        case _:
            return value


def every_reference(value: object) -> list[str]:
    """Return all `reference` strings, however deep."""
    match value:
        case dict():
            own = [item for name, item in value.items() if name == "reference" and isinstance(item, str)]
            return own + [found for item in value.values() for found in every_reference(item)]
        case list():
            return [found for item in value for found in every_reference(item)]
        case _:
            return []


def entry_answer(reply: Reply) -> dict[str, object]:
    """Return the entry of the answering Bundle; its location is absolute."""
    fields = MappingProxyType(dict(reply.fields))
    response: dict[str, object] = {"status": str(reply.status)}
    if "Location" in fields:
        response["location"] = Link(fields["Location"])
    if "ETag" in fields:
        response["etag"] = fields["ETag"]
    if reply.resource is None:
        return {"response": response}
    if reply.status >= 400:
        return {"response": {**response, "outcome": reply.resource}}
    return {"resource": reply.resource, "response": response}
