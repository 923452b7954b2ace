"""The interactions with one resource: read, vread, create, update, patch, delete; Binary byte for byte."""

from __future__ import annotations

import base64
import json
from email.utils import parsedate_to_datetime

import jsonpatch
import jsonpointer

from .calls import Call, Reply, location, validators, version_reply
from .json_text import Number, Resource, text_at
from .outcome import FhirError, not_found, precondition_failed
from .search import understand
from .spellings import Pairs, query_pairs
from .store import Store, Version


class Instances:
    """Reads and writes single resources."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, call: Call) -> Reply:
        """Answer the current version, or 304 if the client has it."""
        version = self._store.read(call.names["type"], call.names["id"])
        return (
            Reply(304, validators(version)) if is_known(version, call) else content_reply(200, version, call)
        )

    def vread(self, call: Call) -> Reply:
        """Answer one version."""
        version = self._store.read_version(call.names["type"], call.names["id"], call.names["version"])
        return content_reply(200, version, call)

    def create(self, call: Call) -> Reply:
        """Store a new resource; `If-None-Exist` finds the one that is there already."""
        resource = received(call)
        condition = call.fields.get("If-None-Exist", "")
        if condition:
            found = self._one(call, query_pairs(condition.removeprefix("?")))
            if found is not None:
                return version_reply(200, found, call, location(found, call.links))
        return self.created(call, resource)

    def created(self, call: Call, resource: Resource, id_: str = "") -> Reply:
        """Store a resource as a new one; a transaction has chosen the id already."""
        version = self._store.write(resource, id_, "POST")
        return version_reply(201, version, call, location(version, call.links))

    def update(self, call: Call) -> Reply:
        """Store the next version, or the first one under the id that the client chose."""
        resource = received(call)
        if text_at(resource, "id") != call.names["id"]:
            # Binary as raw bytes has no id of its own, so `received` gives it the one of the path.
            raise FhirError(
                400, "invalid", f"The id of the resource is not the '{call.names['id']}' of the URL."
            )
        return self._write(call, resource)

    def update_where(self, call: Call) -> Reply:
        """Update the one resource that the query finds, or create one."""
        resource = received(call)
        found = self._one(call, call.query)
        if found is None and not text_at(resource, "id"):
            return self.created(call, resource)
        return self._write(call, {**resource, "id": found.id if found else text_at(resource, "id")})

    def _write(self, call: Call, resource: Resource) -> Reply:
        type_, id_ = call.names["type"], text_at(resource, "id")
        before = self._store.newest(type_, id_)
        check_if_match(before, call)
        version = self._store.write(resource, id_)
        status = 201 if before is None or before.deleted else 200
        return version_reply(status, version, call, location(version, call.links))

    def patch(self, call: Call) -> Reply:
        """Apply a JSON Patch (RFC 6902)."""
        if "json-patch+json" not in call.fields.get("Content-Type", ""):
            raise FhirError(415, "not-supported", "PATCH takes application/json-patch+json.")
        before = self._store.read(call.names["type"], call.names["id"])
        check_if_match(before, call)
        try:
            operations = json.loads(call.body, parse_float=Number)
            patched = jsonpatch.JsonPatch(operations).apply(before.resource)
        except (
            ValueError,
            TypeError,
            jsonpatch.JsonPatchException,
            jsonpointer.JsonPointerException,
        ) as error:
            raise FhirError(422, "invalid", f"The patch cannot be applied: {error}.") from error
        if not isinstance(patched, dict) or patched.get("id") != before.id:
            raise FhirError(400, "invalid", "A patch cannot change the id or remove the resource.")
        version = self._store.write(patched, before.id, "PATCH")
        return version_reply(200, version, call)

    def delete(self, call: Call) -> Reply:
        """Delete; 204 as well where there is nothing, FHIR R4 section 3.1.0.7."""
        check_if_match(self._store.newest(call.names["type"], call.names["id"]), call)
        deletion = self._store.delete(call.names["type"], call.names["id"])
        return Reply(204, (("ETag", deletion.etag),) if deletion else ())

    def delete_where(self, call: Call) -> Reply:
        """Delete the one resource that the query finds."""
        found = self._one(call, call.query)
        deletion = self._store.delete(found.type, found.id) if found else None
        return Reply(204, (("ETag", deletion.etag),) if deletion else ())

    def _one(self, call: Call, pairs: Pairs) -> Version | None:
        """Return the only match of a condition, None without one; FhirError 412 for several."""
        query = understand(call.names["type"], pairs, strict=True)
        if not query.criteria:
            raise precondition_failed("The condition names no search parameter.")
        found = query.run(self._store, call.links)
        if len(found) > 1:
            raise precondition_failed(f"The condition is not selective enough: {len(found)} resources match.")
        return found[0] if found else None


def received(call: Call) -> Resource:
    """Return the resource of the body, or raise FhirError 400 or 415."""
    type_ = call.names["type"]
    if type_ == "Binary" and call.media_type != "application/fhir+json":
        data = base64.b64encode(call.body).decode()
        identity = {"id": call.names["id"]} if "id" in call.names else {}
        return {
            "resourceType": "Binary",
            **identity,
            "contentType": call.fields["Content-Type"],
            "data": data,
        }
    resource = call.resource()
    if resource["resourceType"] != type_:
        raise FhirError(400, "invalid", f"The body is a {resource['resourceType']}, the URL says {type_}.")
    return resource


def content_reply(status: int, version: Version, call: Call) -> Reply:
    """Return a version; a Binary as itself unless FHIR is asked for (FHIR R4, section 2.36.5)."""
    if version.type != "Binary" or "application/fhir+" in call.fields.get("Accept", ""):
        return version_reply(status, version, call)
    data = base64.b64decode(text_at(version.resource, "data"))
    content_type = text_at(version.resource, "contentType", "application/octet-stream")
    return Reply(status, (*validators(version), ("Content-Type", content_type)), data)


def is_known(version: Version, call: Call) -> bool:
    """Whether If-None-Match, or else If-Modified-Since, says that the client has this version."""
    tags = call.fields.get("If-None-Match")
    if tags is not None:
        return version.etag in {tag.strip() for tag in tags.split(",")}
    try:
        since = parsedate_to_datetime(call.fields.get("If-Modified-Since", ""))
    except ValueError:
        return False
    return version.moment.replace(microsecond=0) <= since


def check_if_match(version: Version | None, call: Call) -> None:
    """Raise FhirError 412 if If-Match names another version than the newest."""
    wanted = call.fields.get("If-Match")
    if wanted is None:
        return
    if version is None:
        raise not_found(call.names["type"], call.names["id"])
    if wanted.removeprefix("W/").strip('"') != str(version.number):
        raise precondition_failed(f"If-Match {wanted} is not the newest version, {version.etag}.")
