"""Pages: an opaque continuation, and Bundles whose links lead from one to the next."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from .calls import Call, Reply
from .json_text import Raw
from .outcome import FhirError
from .spellings import Page, Pairs
from .store import Version, instant

DEFAULT_COUNT = 10
"""Entries of a page unless `_count` says otherwise; Microsoft's default."""
MOST = 1000
"""The largest `_count`, as Microsoft's server caps it."""


class Paging:
    """Cuts results into pages; `continuation_size` pads the tokens, which reach kilobytes on Cosmos DB."""

    def __init__(self, continuation_size: int = 0) -> None:
        self._padding = continuation_size * 3 // 4

    def continuation(self, offset: int) -> str:
        """Return the token of an offset: standard base64, so it holds `+`, `/` and `=`."""
        head = offset.to_bytes(4)
        digest = hashlib.sha256(head).digest()
        filler = (digest * (self._padding // len(digest) + 1))[: max(self._padding - 36, 0)]
        return base64.b64encode(head + digest + filler).decode()

    def offset(self, token: str) -> int:
        """Return the offset, or raise FhirError 400 if one character of the token was changed."""
        refused = FhirError(400, "invalid", "The continuation token is invalid.")
        try:
            head = base64.b64decode(token, validate=True)[:4]
        except ValueError as error:
            raise refused from error
        offset = int.from_bytes(head)
        if token != self.continuation(offset):
            raise refused
        return offset

    def window(self, call: Call) -> tuple[int, int]:
        """Return offset and count that a call asks for, or raise FhirError 400."""
        text = call.parameter("_count")
        if not text.isdecimal() and text:
            raise FhirError(400, "invalid", f"_count '{text}' is not a number.")
        token = call.parameter("ct")
        return (self.offset(token) if token else 0), min(int(text) if text else DEFAULT_COUNT, MOST)

    def links(self, call: Call, parameters: Pairs, total: int) -> list[object]:
        """Return `self`, and `next` where there is more."""
        offset, count = self.window(call)
        token = call.parameter("ct")
        found: list[object] = []
        if offset + count < total:
            # `_total` is dropped from next, as Microsoft's server does.
            rest = tuple(pair for pair in parameters if pair[0] != "_total")
            following = Page(call.path, rest, self.continuation(offset + count))
            found.append({"relation": "next", "url": call.links.page(following)})
        found.append({"relation": "self", "url": call.links.page(Page(call.path, parameters, token))})
        return found

    def search_reply(
        self,
        call: Call,
        parameters: Pairs,
        matches: Sequence[Version],
        included: Sequence[Version] = (),
        total: int | None = None,
    ) -> Reply:
        """Return a page of a search; `included` go with this page's matches."""
        offset, count = self.window(call)
        bundle = bundle_of("searchset", total)
        bundle["link"] = self.links(call, parameters, len(matches))
        modes = ((matches[offset : offset + count], "match"), (included, "include"))
        bundle["entry"] = [
            {
                "fullUrl": call.links.to(version.path),
                "resource": Raw(version.text),
                "search": {"mode": mode},
            }
            for versions, mode in modes
            for version in versions
        ]
        return Reply(200, resource=without_empty_entry(bundle))

    def history_reply(self, call: Call, parameters: Pairs, versions: Sequence[Version]) -> Reply:
        """Return a page of a history."""
        offset, count = self.window(call)
        bundle = bundle_of("history", len(versions))
        bundle["link"] = self.links(call, parameters, len(versions))
        bundle["entry"] = [history_entry(call, version) for version in versions[offset : offset + count]]
        return Reply(200, resource=without_empty_entry(bundle))


def bundle_of(type_: str, total: int | None = None) -> dict[str, object]:
    """Return the beginning of a Bundle."""
    head: dict[str, object] = {"resourceType": "Bundle", "type": type_}
    return head if total is None else {**head, "total": total}


def without_empty_entry(bundle: dict[str, object]) -> dict[str, object]:
    """Return the Bundle without an empty list, which FHIR forbids (R4, section 2.6.2.2)."""
    return bundle if bundle["entry"] else {name: value for name, value in bundle.items() if name != "entry"}


STATUS_OF_METHOD = {"POST": "201", "PUT": "200", "PATCH": "200", "DELETE": "204"}


def history_entry(call: Call, version: Version) -> dict[str, object]:
    """Return the entry of a version: the resource, the request that made it and its answer."""
    url = version.type if version.method == "POST" else version.path
    status = "201" if version.number == 1 else STATUS_OF_METHOD[version.method]
    response = {"status": status, "etag": version.etag, "lastModified": instant(version.moment)}
    entry: dict[str, object] = {"fullUrl": call.links.to(version.path)}
    if not version.deleted:
        entry["resource"] = Raw(version.text)
    return {**entry, "request": {"method": version.method, "url": url}, "response": response}
