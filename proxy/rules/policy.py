"""Which interactions a server's settings let pass: `policy`, and `allow` where it names some.

Method and path tell what a request asks for; a `Prefer: respond-async` makes a job of it (FHIR R5 section
3.2.6.1), and a batch is what its entries are. What cannot be read is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Final

from ..errors import BodyTooLarge, RequestRefused
from ..model import BaseUrl, Classified, Fields, Interaction, RequestHead
from .guards import oddity
from .interactions import classify, is_read

_JSON: Final = frozenset({"application/fhir+json", "application/json", "application/json+fhir", "text/json"})
# Another charset would let the server read other text than this proxy.
_PARAMETERS: Final = re.compile(r"(?:\s*(?:charset=\"?utf-8\"?|fhirversion=\"?[\d.]+\"?)?\s*(?:;|\Z))*")
_BUNDLES: Final = frozenset({"batch", "transaction"})


class Policy:
    """What the tools of one server may do: what both settings allow."""

    def __init__(self, base: BaseUrl, *, read_only: bool, allow: Collection[str]) -> None:
        self._base = str(base)
        self._read_only = read_only
        self._allow = frozenset(allow)
        self.limits = read_only or bool(self._allow)
        """Whether anything is refused."""

    def check(self, head: RequestHead, classified: Classified) -> None:
        """Raise RequestRefused for what is not allowed; a batch is for `check_batch`, once it is there."""
        if not self.limits:
            return
        if "respond-async" in head.fields.text(b"prefer").lower():
            self._check(Classified(Interaction.JOB), is_reading=False)
        if classified.interaction is not Interaction.BATCH:
            self._check(classified, is_reading=is_read(classified, head.method))

    def reads_body(self, classified: Classified) -> bool:
        """Whether the body decides, so that `check_batch` has to see it."""
        return self.limits and classified.interaction is Interaction.BATCH

    def check_batch(self, fields: Fields, body: bytes | None) -> None:
        """Raise RequestRefused where an entry of a batch or transaction is not allowed, or cannot be read.

        `body` is None where it is too large to be held; `fields` are those that go with it.
        """
        if body is None:
            raise BodyTooLarge(
                "The batch is too large to be read entry by entry, which the settings policy and allow ask for.",
                hint="Send fewer entries at a time: up to 256 KiB.",
            )
        for number, (method, url) in enumerate(self._entries(fields, body)):
            classified = self._classify(method, url)
            if classified.interaction is Interaction.BATCH:
                raise _unreadable(f"entry {number} is a batch itself")
            try:
                self._check(classified, is_reading=is_read(classified, method))
            except RequestRefused as refused:
                raise RequestRefused(
                    f"Entry {number} of the batch: {refused.message}", hint=refused.hint
                ) from None

    def _check(self, classified: Classified, *, is_reading: bool) -> None:
        if self._read_only and not is_reading:
            raise RequestRefused(
                f"{classified} is not allowed: it is no read.", hint='The setting is policy = "read-only".'
            )
        if self._allow and self._allow.isdisjoint({classified.interaction.value, classified.operation}):
            raise RequestRefused(
                f"{classified} is not allowed.",
                hint=f"The setting is allow = {json.dumps(sorted(self._allow))}.",
            )

    def _entries(self, fields: Fields, body: bytes) -> Iterator[tuple[str, str]]:
        """Method and URL of each entry."""
        media_type, _, parameters = fields.text(b"content-type").lower().partition(";")
        is_json = media_type.strip() in _JSON and _PARAMETERS.fullmatch(parameters)
        if not is_json or fields.text(b"content-encoding").strip().lower() not in {
            "",
            "identity",
        }:
            raise _unreadable("it is not plain JSON")
        try:
            bundle = json.loads(body.decode("utf-8"), object_pairs_hook=_unambiguous)
        except (ValueError, RecursionError):
            raise _unreadable("it is not JSON, or names a property twice") from None
        match bundle:
            case {"resourceType": "Bundle", "type": str(kind), "entry": list(entries)} if kind in _BUNDLES:
                pass
            case {"resourceType": "Bundle", "type": str(kind)} if kind in _BUNDLES and "entry" not in bundle:
                return
            case _:
                raise _unreadable("it is no Bundle of type batch or transaction")
        for number, entry in enumerate(entries):
            match entry:
                case {"request": {"method": str(method), "url": str(url)}}:
                    yield method, url
                case _:
                    raise _unreadable(f"entry {number} has no request with method and url")

    def _classify(self, method: str, url: str) -> Classified:
        """What an entry asks for; one whose URL is not plain, or another server's, is none of FHIR's."""
        if url.startswith((f"{self._base}/", f"{self._base}?")):
            url = url[len(self._base) :]
        path = url.partition("?")[0].removeprefix("/").encode("utf-8", "surrogatepass")
        return Classified(Interaction.OTHER) if oddity(b"/" + path) else classify(method, path)


def _unambiguous(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object whose properties every parser finds alike: which of two counts, they do not agree on."""
    names = [name.lower() for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError("a property is named twice")
    return dict(pairs)


def _unreadable(why: str) -> RequestRefused:
    return RequestRefused(
        f"The batch is refused: {why}.",
        hint="The settings policy and allow have a batch read entry by entry; send it as plain JSON.",
    )
