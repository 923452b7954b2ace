r"""The ways in which a base URL can be written in what FHIR servers and tools send, and how to find it there.

Inside JSON, XML, forms, fields and queries the same URL stands as `https://x/fhir`, `https:\/\/x\/fhir`,
`https:\u002f\u002fx`, `https:&#x2F;&#x2F;x`, `https%3A%2F%2Fx`, `https%253A%252F%252Fx`,
`HTTPS://X:443/fhir`. One pattern finds them all. Strategy: the host or port alone is looked for, at the speed
of memory, and only around what is found does the regular expression look; compiled once, since compiling
costs more than rewriting a small body. Where there are as many hosts as URLs in the usual spelling, as in
almost every body, not even that is needed.

Letters, digits and `-._~` are taken to stand for themselves: no encoder that is in use escapes them
(RFC 3986 section 2.3 forbids it for percent-encoding).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from ..model import DEFAULT_PORTS, BaseUrl
from .needles import Needles, needles_of

LEVELS: Final = (0, 1, 2)
"""How often a URL can be percent-encoded: not, inside a query, inside the query of a link inside a query."""

MOST_PORTS: Final = 4
"""HAPI behind a proxy writes a port twice (hapi-fhir#2856, fhircore#1714); nobody was seen to write it thrice."""

MARK_MOUNT: Final = "/u/"
"""Stands before a mark in the path of a local URL; no FHIR path begins so, since types are capitalized."""

BEFORE: Final = 16
"""Bytes before a match that `can_begin` looks at: an escape and the backslashes that could disarm it."""

_STANDS_FOR_ITSELF: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_CONTINUES_SCHEME: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.")

# What may follow a base: the base ends there. Not `-`, `_`, `.`, `:1`, `@`, which all name something else. A
# full stop, colon or exclamation mark ends it only where a sentence ends with it. The same percent-encoded,
# once or twice, ends it too: in a query some encoders leave `http://x` as it is and write `%2FPatient`. Outside
# of queries `x%2FPatient` is something else: `stands_alone` tells.
_ENDS: Final = (
    rb"""[/?#"'<>\s&|,)\]};`$]"""
    rb"|\\(?!u00(?:2[5de]|3[0-9a]|4|5[0-9af]|6|7[0-9ae]))"
    rb"""|[.:!](?:[\s"'<]|\\[nrt"]|\Z)"""
)
_ENCODED_END: Final = rb"(?:0[9ad]|2[0-46-9abcf]|3[b-f]|5[b-e]|60|7[b-d])"
_BOUNDARY: Final = rb"(?i:(?=%s|%%(?:25)?%s|\Z))" % (_ENDS, _ENCODED_END)
_CLEAR_ENDS: Final = frozenset(b'/?"')
"""What follows almost every base, and ends it whatever comes next."""

_UNDECIDED_END: Final = rb"(?:\\(?:u[0-9A-Fa-f]{0,3})?|%[0-9A-Fa-f]{0,3}|[.:!]\\?)?\Z"

_NEVER_INSIDE: Final = (b'"', b"}", b">", b"\n", b" ")
"""Bytes that no spelling of a base URL holds, nor what may be undecided after it: nothing is cut across them."""

_ESCAPE: Final = re.compile(
    rb"(?<!\\)(?:\\\\)*\\(?:[bfnrt]|u(?P<json>[0-9A-Fa-f]{4}))\Z|%(?:25)?(?P<percent>[0-9A-Fa-f]{2})\Z"
)


@dataclass(frozen=True, slots=True)
class _Pieces:
    """A regular expression for the whole of something, and one for what of it stands at the end of the data."""

    whole: bytes = b""
    partial: bytes = b""
    longest: int = 0

    def __add__(self, other: _Pieces) -> _Pieces:
        return _Pieces(self.whole + other.whole, self.partial + other.partial, self.longest + other.longest)

    def repeated(self, least: int, most: int) -> _Pieces:
        times = b"{%d,%d}" % (least, most)
        return _Pieces(
            b"(?:%s)%s" % (self.whole, times), b"(?:%s)%s" % (self.partial, times), self.longest * most
        )


def _either(choices: Sequence[_Pieces]) -> _Pieces:
    return _Pieces(
        _either_bytes(choice.whole for choice in choices),
        _either_bytes(choice.partial for choice in choices),
        max(choice.longest for choice in choices),
    )


def forms(character: str, level: int) -> tuple[list[str], list[str]]:
    """How a character can be written without, and with, percent-encoding at a level."""
    if character in _STANDS_FOR_ITSELF:
        return [character], []
    code = ord(character)
    plain = [character, f"\\u{code:04x}", f"&#x{code:x};", f"&#{code};"]
    if character == "/":
        plain.append("\\/")
    encoded = ["%" + "25" * (level - 1) + f"{code:02x}"] if level else []
    # A percent sign that is encoded at all is encoded at each level, or it would mean something else.
    return ([] if character == "%" and level else plain), encoded


def _token(forms: Collection[str], *, ignore_case: bool = False) -> _Pieces:
    """One character in any of its forms; the partial form also matches any beginning of one at the end.

    Of an escape the letters always match in either case.
    """
    whole = _either_bytes(_pattern_of(form, ignore_case or len(form) > 1) for form in forms)
    begun = sorted({form[:length] for form in forms for length in range(1, len(form))})
    ends = _either_bytes([whole, *(_pattern_of(part, True) + rb"\Z" for part in begun), rb"\Z"])
    return _Pieces(whole, ends, max(map(len, forms)))


def _pattern_of(text: str, ignore_case: bool) -> bytes:
    # A class for each letter, not a flag: with a flag the search cannot skip to where a match may begin.
    return "".join(
        f"[{letter.upper()}{letter.lower()}]" if ignore_case and letter.isalpha() else re.escape(letter)
        for letter in text
    ).encode("ascii")


def _either_bytes(patterns: Iterable[bytes]) -> bytes:
    alternatives = list(patterns)
    return alternatives[0] if len(alternatives) == 1 else b"(?:%s)" % b"|".join(alternatives)


def _text(text: str, level: int, *, ignore_case: bool = False) -> _Pieces:
    pieces = _Pieces()
    for character in text:
        pieces += _written(character, level, ignore_case)
    return pieces


@cache
def _written(character: str, level: int, ignore_case: bool) -> _Pieces:
    """One character in all of its forms: a start asks ten times for each."""
    plain, encoded = forms(character, level)
    return _token([*plain, *encoded], ignore_case=ignore_case)


def _after_scheme(level: int) -> _Pieces:
    """`://`, of which at a level above 0 at least one of the first two is percent-encoded.

    Some encoders leave the slashes of a query value as they are, some the colon.
    """
    if not level:
        return _text("://", 0)
    colon, encoded_colon = (_token(written) for written in forms(":", level))
    plain_slash, encoded_slash = forms("/", level)
    slash = _token([*plain_slash, *encoded_slash])
    return _either([encoded_colon + slash + slash, colon + _token(encoded_slash) + slash])


def _mark(longest: int) -> _Pieces:
    return _Pieces(rb"[A-Za-z0-9_-]{1,%d}" % longest, rb"[A-Za-z0-9_-]{0,%d}" % longest, longest)


def _address(base: BaseUrl, paths: Sequence[str], level: int, longest_mark: int) -> _Pieces:
    host = f"[{base.host}]" if ":" in base.host else base.host
    port = _text(f":{base.port}", level)
    default = DEFAULT_PORTS[base.scheme] == base.port
    boundary = _Pieces(_BOUNDARY, _UNDECIDED_END, 8)
    longest_first = sorted(paths, key=len, reverse=True)
    ends = [_text(path, level) + boundary for path in longest_first]
    if longest_mark:
        mark = _mark(longest_mark)
        ends[:0] = [_text(path + MARK_MOUNT, level) + mark + boundary for path in longest_first]
    return (
        _after_scheme(level)
        + _text(host, level, ignore_case=True)
        + port.repeated(0 if default else 1, MOST_PORTS)
        + _either(ends)
    )


def _lead(base: BaseUrl, needles: Needles) -> int:
    """The most bytes of a match that can stand before its needle."""
    before_host = len(base.scheme) + max(_after_scheme(level).longest for level in LEVELS)
    if base.host.encode("ascii") in needles.texts:
        return before_host
    return before_host + max(_text(f"[{base.host}]:", level).longest for level in LEVELS)


class _Late:
    """A regular expression that is compiled when it is first needed: some 30 ms, which no start has to wait for."""

    __slots__ = ("_compiled", "_source")

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._compiled: re.Pattern[bytes] | None = None

    @property
    def pattern(self) -> re.Pattern[bytes]:
        if self._compiled is None:
            self._compiled = re.compile(self._source)
        return self._compiled


class AddressPattern:
    """Finds any of some base URLs in any spelling, where it begins and ends as a base URL does."""

    __slots__ = (
        "_lead",
        "_needles",
        "_partial",
        "_reach",
        "_usual",
        "_usual_lead",
        "_whole",
        "usual",
    )

    def __init__(
        self, bases: Collection[BaseUrl], *, also: Collection[str] = (), longest_mark: int = 0
    ) -> None:
        """The paths `also` count at each base's origin as well, the longest where several can.

        A mark (see `marks`) of up to `longest_mark` characters belongs to the base before it.
        """
        longest_first = sorted(set(bases), key=lambda base: len(base.path), reverse=True)
        pieces = _either(
            [
                _text(scheme, 0, ignore_case=True)
                + _either(
                    [
                        _address(base, sorted({base.path, *also}), level, longest_mark)
                        for level in LEVELS
                        for base in longest_first
                        if base.scheme == scheme
                    ]
                )
                for scheme in sorted({base.scheme for base in longest_first})
            ]
        )
        self._whole = _Late(pieces.whole)
        self._partial = _Late(pieces.partial)
        self._reach = pieces.longest
        self._needles = needles_of(longest_first)
        self._lead = max(_lead(base, self._needles) for base in longest_first)
        first = next(iter(bases))
        usual = str(first).encode("ascii")
        is_apart = not any(str(base).startswith(str(first)) for base in bases if base != first)
        leads = [lead for text in self._needles.texts if (lead := usual.lower().find(text)) >= 0]
        self.usual = usual if is_apart and self._needles.count(usual) == 1 and not also else b""
        """The first base as it is configured, as almost every body has it; empty where it could be part of another."""
        self._usual = re.compile(re.escape(usual) + rb"(?=[/?\"])") if self.usual else None
        self._usual_lead = leads[0] if leads else 0

    def around_usual(
        self, data: bytes, endings: Sequence[bytes] = ()
    ) -> tuple[list[bytes], list[int]] | None:
        """The texts between the matches, if all are spelled as `usual`; None where `matches` has to tell.

        With them the indexes of those that a match follows and that have none of the `endings`.
        """
        if not self.usual:
            return None
        usual, usual_lead, size = self.usual, self._usual_lead, len(data)
        texts: list[bytes] = []
        others: list[int] = []
        done = 0
        # Almost every match stands as one before it: after the same ending, and before the same byte.
        ending, whole = b"", b""
        # A match in another spelling, or of another base, has a needle as well.
        for at in self._needles.positions(data):
            begin = at - usual_lead
            end = begin + len(usual)
            ending_begin = begin - len(ending)
            if ending_begin < done or data[ending_begin : end + 1] != whole:
                if begin < done or end >= size or data[end] not in _CLEAR_ENDS or data[begin:end] != usual:
                    return None
                found = _ending_of(data[done:begin], endings)
                if found is None:
                    others.append(len(texts))
                else:
                    ending, whole = found, found + data[begin : end + 1]
            texts.append(data[done:begin])
            done = end
        texts.append(data[done:] if done else data)  # compiled, a whole slice copies
        return texts, others

    def matches(self, data: bytes) -> Iterator[re.Match[bytes]]:
        """The matches from left to right; the left boundary is the caller's to judge (`can_begin`)."""
        position = 0
        for at in self._needles.positions(data):
            if at < position:
                continue
            begin = at - self._usual_lead
            match = self._usual.match(data, begin) if self._usual and begin >= position else None
            match = match or self._whole.pattern.search(data, max(position, at - self._lead))
            if match is None:
                return
            yield match
            position = match.end()

    def is_all_of(self, url: bytes) -> bool:
        """Whether a URL is one of the bases, in any spelling, and nothing more."""
        return self._whole.pattern.fullmatch(url) is not None

    def undecided_from(self, data: bytes) -> int:
        """Where a match may begin that the end of the data cuts; the length of the data if nowhere."""
        if data.endswith(_NEVER_INSIDE):
            return len(data)
        begin = max(0, len(data) - self._reach)
        for octet in _NEVER_INSIDE:
            begin = data.rfind(octet, begin) + 1 or begin
        match = self._partial.pattern.search(data, begin)
        return len(data) if match is None else match.start()


def _ending_of(text: bytes, endings: Sequence[bytes]) -> bytes | None:
    for ending in endings:
        if text.endswith(ending):
            return ending
    return None


def can_begin(before: bytes) -> bool:
    """Whether a URL can begin after these bytes (the last `BEFORE` of what goes before it).

    Not after what may belong to a scheme (RFC 3986 section 3.1), unless it is the end of an escape.
    """
    if not before or before[-1] not in _CONTINUES_SCHEME:
        return True
    escape = _ESCAPE.search(before)
    if escape is None:
        return False
    digits = escape["json"] or escape["percent"]
    return digits is None or int(digits, 16) not in _CONTINUES_SCHEME


def is_percent_encoded(matched: bytes) -> bool:
    """Whether a match stands inside the query of another URL, by the first two characters after its scheme."""
    return b"%" in matched[: len("https\\u003a%")]


def stands_alone(match: re.Match[bytes]) -> bool:
    """Whether a match can be all that is before the path of a URL, and is no part of another URL's query."""
    return not is_percent_encoded(match[0]) and match.string[match.end() : match.end() + 1] != b"%"
