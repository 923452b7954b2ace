"""The server's URLs in bodies that come in chunks: local on the way down, the upstream's on the way up.

Nothing is parsed and written anew: decimals, escapes, order and white space of a clinical record are part of
it. Bytes outside the replaced URLs pass as they came, and of a chunk without any, the chunk itself. What is
held back is at most the length of one URL in its longest spelling. The result does not depend on where the
chunks are cut.

Policy: down, only values that are addresses by the table in `places`; up, every own address anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import ClassVar, Final, Protocol

from .called_by_server import IN_JSON, IN_XML, PatchReading, refuse_what_is_called
from .json_places import JsonPlaces, usual_writing
from .key_paths import KeyPaths
from .places import ADDRESSES, Structure, is_address
from .spellings import BEFORE, can_begin, stands_alone
from .urls import UrlMap
from .xml_places import XmlPlaces


class Rewriter(Protocol):
    """A body on its way through the proxy: `feed` each chunk and `flush` once at its end, or give it the `whole`."""

    def feed(self, chunk: bytes) -> bytes:
        """What can be passed on after this chunk."""

    def flush(self) -> bytes:
        """What was held back."""

    def whole(self, body: bytes) -> bytes:
        """What `feed` and `flush` would make of a body that is all at hand."""


class Pattern(Protocol):
    """What is looked for in a body."""

    def matches(self, data: bytes) -> Iterator[re.Match[bytes]]:
        """The matches from left to right."""

    def undecided_from(self, data: bytes) -> int:
        """Where a match may begin that the end of the data cuts; the length of the data if nowhere."""


class _Rewriting:
    """Replaces the matches of a pattern for which `_replacement` gives something."""

    __slots__ = ("_before", "_held", "_pattern")

    _LOOK_BACK: ClassVar[int] = BEFORE
    """Bytes before a match that `_before_match` gives."""

    def __init__(self, pattern: Pattern) -> None:
        self._pattern = pattern
        self._held = b""
        self._before = b""

    def feed(self, chunk: bytes) -> bytes:
        data = self._held + chunk if self._held else chunk
        return self._pass(data, self._pattern.undecided_from(data))

    def flush(self) -> bytes:
        return self._pass(self._held, len(self._held)) if self._held else b""

    def whole(self, body: bytes) -> bytes:
        # Nothing follows, so nothing is undecided, and nothing has to be remembered.
        return self._replaced(body, len(body))[0]

    def _pass(self, data: bytes, end: int) -> bytes:
        passed, end = self._replaced(data, end)
        self._passed(data, end)
        self._before = self._before_match(data, end)
        self._held = data[end:]
        return passed

    def _replaced(self, data: bytes, end: int) -> tuple[bytes, int]:
        """What becomes of `data` up to `end`, or up to where a match ends that begins before; and where that is."""
        pieces: list[bytes] = []
        done = 0
        for match in self._pattern.matches(data):
            if match.start() >= end:
                break
            replacement = self._replacement(data, match)
            if replacement is not None:
                pieces += (data[done : match.start()], replacement)
                done = match.end()
        end = max(end, done)
        if not pieces:
            return data if end == len(data) else data[:end], end
        pieces.append(data[done:end])
        return b"".join(pieces), end

    def _before_match(self, data: bytes, start: int) -> bytes:
        if start >= self._LOOK_BACK:
            return data[start - self._LOOK_BACK : start]
        return (self._before + data[:start])[-self._LOOK_BACK :]

    def _replacement(self, data: bytes, match: re.Match[bytes]) -> bytes | None:
        raise NotImplementedError

    def _passed(self, data: bytes, end: int) -> None:
        """Take notice that `data` up to `end` goes out and the rest comes again."""


class _Downwards(_Rewriting):
    """Makes the upstream's URLs local in values that are addresses and begin with one.

    Further ones in the same value, in the query of a link, become local with it: the tool compares them with
    what it sent, and the way up reverses them.
    """

    __slots__ = ("_delimiter", "_local_base", "_places", "_structure", "_url_map", "_usual", "_value")

    def __init__(
        self,
        url_map: UrlMap,
        local_base: bytes,
        structure: Callable[[], Structure],
        usual: tuple[bytes, ...],
    ) -> None:
        """Take what `usual` ends as the beginning of an address, without asking the structure."""
        super().__init__(url_map.theirs)
        self._url_map = url_map
        self._local_base = local_base
        self._structure = structure
        self._places: Structure | None = None  # made when it is first asked: of most bodies it never is
        self._usual = usual
        # Where, in the present data, the rest of a value begins that is being rewritten; None outside of one.
        self._value: int | None = None
        self._delimiter = b'"'

    def _replaced(self, data: bytes, end: int) -> tuple[bytes, int]:
        theirs = self._url_map.theirs
        around = theirs.around_usual(data, self._usual)
        if around is None or len(data) - len(around[0][-1]) > end:
            return super()._replaced(data, end)
        texts, asked = around
        if end < len(data):
            texts[-1] = texts[-1][: end - len(data)]
        if len(texts) == 1:
            return texts[0], end
        written = theirs.usual
        # Each becomes local, but for the few whose place has to be asked for and turns out to be none.
        kept: list[int] = []
        index = start = 0  # of a text
        for asked_index in asked:
            while index < asked_index:
                start += len(texts[index]) + len(written)
                index += 1
            if index and not (kept and kept[-1] == index - 1):
                self._value = start
            if not self._is_local(data, start + len(texts[index]), stands_alone=True):
                kept.append(index)
        if not (kept and kept[-1] == len(texts) - 2):
            self._value = end - len(texts[-1])
        for index in reversed(kept):
            texts[index : index + 2] = [texts[index] + written + texts[index + 1]]
        return self._url_map.address_down(written, self._local_base).join(texts), end

    def _replacement(self, data: bytes, match: re.Match[bytes]) -> bytes | None:
        if not self._is_local(data, match.start(), stands_alone=stands_alone(match)):
            return None
        self._value = match.end()
        return self._url_map.address_down(match[0], self._local_base)

    def _is_local(self, data: bytes, start: int, *, stands_alone: bool) -> bool:
        """Whether a match that begins at `start` begins an address, or stands in the rest of one."""
        last = data[start - 1 : start] if start else self._before[-1:]
        if last in {b'"', b"'"} and stands_alone and is_address(self._asked_structure(), data, start):
            self._delimiter = last
            return True
        return (
            self._value is not None
            and data.find(self._delimiter, self._value, start) < 0
            and can_begin(self._before_match(data, start))
        )

    def _asked_structure(self) -> Structure:
        places = self._places
        if places is None:
            places = self._places = self._structure()
        return places

    def _passed(self, data: bytes, end: int) -> None:
        self._asked_structure().passed(data, end)
        if self._value is not None:
            self._value = None if data.find(self._delimiter, self._value, end) >= 0 else 0


class _Upwards(_Rewriting):
    """Makes the proxy's own addresses the upstream's, wherever they are."""

    __slots__ = ("_called", "_url_map")

    _LOOK_BACK: ClassVar[int] = 512
    """Enough for an element's name, and in a JSON Patch for the path before the value."""

    def __init__(self, url_map: UrlMap, called: re.Pattern[bytes] | None = None) -> None:
        """Refuse what `called` finds before an own address: an element that the server would call."""
        super().__init__(url_map.own)
        self._url_map = url_map
        self._called = called

    def _replacement(self, data: bytes, match: re.Match[bytes]) -> bytes | None:
        before = self._before_match(data, match.start())
        if not can_begin(before[-BEFORE:]):
            return None
        if self._called is not None:
            refuse_what_is_called(self._called, before)
        return self._url_map.address_up(match[0])


class _KeyShown(_Rewriting):
    """Puts the key before host-relative URLs in values that are addresses."""

    __slots__ = ("_key_paths", "_structure")

    def __init__(self, key_paths: KeyPaths, structure: Structure) -> None:
        super().__init__(key_paths.theirs)
        self._key_paths = key_paths
        self._structure = structure

    def _replacement(self, data: bytes, match: re.Match[bytes]) -> bytes | None:
        start = match.start()
        last = data[start - 1 : start] if start else self._before[-1:]
        if last not in {b'"', b"'"} or not is_address(self._structure, data, start):
            return None
        return self._key_paths.before(match[0]) + match[0]

    def _passed(self, data: bytes, end: int) -> None:
        self._structure.passed(data, end)


class _KeyRemoved(_Rewriting):
    """Takes the key away."""

    __slots__ = ()

    def __init__(self, key_paths: KeyPaths) -> None:
        super().__init__(key_paths.shown)

    def _replacement(self, data: bytes, match: re.Match[bytes]) -> bytes | None:  # noqa: ARG002
        return b""


class _Chained:
    """Two rewriters, one after the other."""

    __slots__ = ("_first", "_second")

    def __init__(self, first: Rewriter, second: Rewriter) -> None:
        self._first = first
        self._second = second

    def feed(self, chunk: bytes) -> bytes:
        return self._second.feed(self._first.feed(chunk))

    def flush(self) -> bytes:
        return self._second.feed(self._first.flush()) + self._second.flush()

    def whole(self, body: bytes) -> bytes:
        return self._second.whole(self._first.whole(body))


_JSON: Final = ("application/fhir+json", "application/json", "application/json+fhir", "text/json")
_JSON_PATCH: Final = "application/json-patch+json"
_PATCH: Final = (_JSON_PATCH, "application/merge-patch+json")
_NDJSON: Final = ("application/fhir+ndjson", "application/ndjson", "application/x-ndjson")
_XML: Final = ("application/fhir+xml", "application/xml", "application/xml+fhir", "text/xml")
_FORM: Final = ("application/x-www-form-urlencoded",)

_ALWAYS_IN_JSON: Final = tuple(
    writing for name, parents in ADDRESSES.items() if not parents for writing in usual_writing(name)
)

_STRUCTURES: dict[str, tuple[Callable[[], Structure], tuple[bytes, ...]]] = {
    # what tells the place of a value, and what does so at its beginning without being asked
    **dict.fromkeys((*_JSON, *_PATCH), (JsonPlaces, _ALWAYS_IN_JSON)),
    **dict.fromkeys(_NDJSON, (lambda: JsonPlaces(by_line=True), _ALWAYS_IN_JSON)),
    **dict.fromkeys(_XML, (XmlPlaces, ())),
}
_CALLED: dict[str, re.Pattern[bytes] | None] = {
    **dict.fromkeys((*_JSON, *_PATCH, *_NDJSON), IN_JSON),
    **dict.fromkeys(_XML, IN_XML),
    **dict.fromkeys(_FORM, None),
}
_ASCII_BASED: Final = frozenset({"", "utf-8", "utf8", "us-ascii", "iso-8859-1", "windows-1252"})
"""Charsets in which an address has the same bytes. FHIR knows UTF-8 alone (R4 section 3.1.0.1.5); a body in
UTF-16 passes as it is, since no byte of it could be matched."""


def response_rewriter(media_type: str, url_map: UrlMap, local_base: bytes) -> Rewriter | None:
    """A rewriter for an answer's body; None where a body of that type passes untouched (PDF, images, text)."""
    known = _STRUCTURES.get(_readable(media_type))
    if known is None:
        return None
    structure, usual = known
    downwards = _Downwards(url_map, local_base, structure, usual)
    key_paths = url_map.key_paths
    if key_paths is None or not key_paths.is_in(local_base):
        return downwards
    return _Chained(downwards, _KeyShown(key_paths, structure()))


def request_rewriter(media_type: str, url_map: UrlMap) -> Rewriter | None:
    """A rewriter for a request's body; None where a body of that type passes untouched.

    Its `feed` and `flush` raise RequestRefused for a body that would make the server call the proxy.
    """
    kind = _readable(media_type)
    if kind not in _CALLED:
        return None
    upwards: Rewriter = _Upwards(url_map, _CALLED[kind])
    if kind == _JSON_PATCH:
        upwards = _Chained(PatchReading(lambda text: url_map.text_up(text) != text), upwards)
    return _Chained(upwards, _KeyRemoved(url_map.key_paths)) if url_map.key_paths else upwards


@lru_cache(maxsize=64)
def _readable(media_type: str) -> str:
    """The type and subtype in lower case; empty if the charset is one that cannot be searched."""
    kind, *parameters = media_type.lower().split(";")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip().strip("\"'") not in _ASCII_BASED:
            return ""
    return kind.strip()
