r"""The ways in which a base URL can be written in what FHIR servers and tools send, and how to find it there.

Inside JSON, XML, forms, fields and queries the same URL stands as `https://x/fhir`, `https:\/\/x\/fhir`,
`https:\u002f\u002fx`, `https:&#x2F;&#x2F;x`, `https%3A%2F%2Fx`, `https%253A%252F%252Fx`,
`HTTPS://X:443/fhir`. One pattern finds them all. Strategy: `bytes.find` looks for the host or port alone, at
the speed of memory, and only around what it finds does the regular expression look; compiled once, since
compiling costs more than rewriting a small body.

Letters, digits and `-._~` are taken to stand for themselves: no encoder that is in use escapes them
(RFC 3986 section 2.3 forbids it for percent-encoding).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..model import DEFAULT_PORTS, BaseUrl

LEVELS = (0, 1, 2)
"""How often a URL can be percent-encoded: not, inside a query, inside the query of a link inside a query."""

MOST_PORTS = 4
"""HAPI behind a proxy writes a port twice (hapi-fhir#2856, fhircore#1714); nobody was seen to write it thrice."""

MARK_MOUNT = "/u/"
"""Stands before a mark in the path of a local URL; no FHIR path begins so, since types are capitalized."""

BEFORE = 16
"""Bytes before a match that `can_begin` looks at: an escape and the backslashes that could disarm it."""

_STANDS_FOR_ITSELF = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_CONTINUES_SCHEME = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-.")

# What may follow a base: the base ends there. Not `-`, `_`, `.`, `:1`, `@`, which all name something else. A
# full stop, colon or exclamation mark ends it only where a sentence ends with it. The same percent-encoded,
# once or twice, ends it too: in a query some encoders leave `http://x` as it is and write `%2FPatient`. Outside
# of queries `x%2FPatient` is something else: `stands_alone` tells.
_ENDS = (
    rb"""[/?#"'<>\s&|,)\]};`$]"""
    rb"|\\(?!u00(?:2[5de]|3[0-9a]|4|5[0-9af]|6|7[0-9ae]))"
    rb"""|[.:!](?:[\s"'<]|\\[nrt"]|\Z)"""
)
_ENCODED_END = rb"(?:0[9ad]|2[0-46-9abcf]|3[b-f]|5[b-e]|60|7[b-d])"
_BOUNDARY = rb"(?i:(?=%s|%%(?:25)?%s|\Z))" % (_ENDS, _ENCODED_END)
_UNDECIDED_END = rb"(?:\\(?:u[0-9A-Fa-f]{0,3})?|%[0-9A-Fa-f]{0,3}|[.:!]\\?)?\Z"

_NEVER_INSIDE = (b'"', b"}", b">", b"\n", b" ")
"""Bytes that no spelling of a base URL holds, nor what may be undecided after it: nothing is cut across them."""

_ESCAPE = re.compile(
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
        plain, encoded = forms(character, level)
        pieces += _token([*plain, *encoded], ignore_case=ignore_case)
    return pieces


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


def _needles(bases: Collection[BaseUrl]) -> tuple[bytes, ...]:
    """Lower-case bytes of which one stands in every match: one port that all share, or the hosts."""
    ports = {base.port for base in bases}
    if len(ports) == 1 and not any(base.port == DEFAULT_PORTS[base.scheme] for base in bases):
        return (b"%d" % ports.pop(),)
    # The colons of an IPv6 address may be encoded; the longest of what is between them is not.
    return tuple({max(base.host.split(":"), key=len).encode("ascii") for base in bases})


def _lead(base: BaseUrl, needles: Collection[bytes]) -> int:
    """The most bytes of a match that can stand before its needle."""
    before_host = len(base.scheme) + max(_after_scheme(level).longest for level in LEVELS)
    if base.host.encode("ascii") in needles:
        return before_host
    return before_host + max(_text(f"[{base.host}]:", level).longest for level in LEVELS)


class AddressPattern:
    """Finds any of some base URLs in any spelling, where it begins and ends as a base URL does."""

    __slots__ = (
        "_lead",
        "_lettered",
        "_needles",
        "_partial",
        "_plain",
        "_plain_lead",
        "_reach",
        "_whole",
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
        self._whole = re.compile(pieces.whole)
        self._partial = re.compile(pieces.partial)
        self._reach = pieces.longest
        self._needles = _needles(longest_first)
        self._lettered = not all(needle.isdigit() for needle in self._needles)
        self._lead = max(_lead(base, self._needles) for base in longest_first)
        # The usual spelling, looked at first where a needle is found. With several bases one could end where
        # another goes on.
        self._plain = None
        self._plain_lead = 0
        if len(longest_first) == 1 and not also:
            plain = str(longest_first[0]).encode("ascii")
            self._plain = re.compile(re.escape(plain) + rb"(?=[/?\"])")
            self._plain_lead = plain.find(self._needles[0])

    def matches(self, data: bytes) -> Iterator[re.Match[bytes]]:
        """The matches from left to right; the left boundary is the caller's to judge (`can_begin`)."""
        folded = data.lower() if self._lettered else data
        if self._plain is not None:
            yield from self._matches_of_one(data, folded, self._plain)
            return
        found = [(at, needle) for needle in self._needles if (at := folded.find(needle)) >= 0]
        position = 0
        while found:
            first = found[0][0] if len(found) == 1 else min(found)[0]
            match = self._whole.search(data, max(position, first - self._lead))
            if match is None:
                return
            yield match
            position = match.end()
            # A needle that lies further on is not looked for again: its search may have taken all the data.
            found = [
                (further, needle)
                for at, needle in found
                if (further := at if at >= position else folded.find(needle, position)) >= 0
            ]

    def _matches_of_one(
        self, data: bytes, folded: bytes, plain: re.Pattern[bytes]
    ) -> Iterator[re.Match[bytes]]:
        """The same for one base and one needle, of which most answers hold nothing else than the usual spelling."""
        needle = self._needles[0]
        position = 0
        at = folded.find(needle)
        while at >= 0:
            start = at - self._plain_lead
            match = plain.match(data, start) if start >= position else None
            if match is None:
                match = self._whole.search(data, max(position, at - self._lead))
                if match is None:
                    return
            yield match
            position = match.end()
            if at < position:
                at = folded.find(needle, position)

    def is_all_of(self, url: bytes) -> bool:
        """Whether a URL is one of the bases, in any spelling, and nothing more."""
        return self._whole.fullmatch(url) is not None

    def undecided_from(self, data: bytes) -> int:
        """Where a match may begin that the end of the data cuts; the length of the data if nowhere."""
        begin = max(0, len(data) - self._reach)
        for octet in _NEVER_INSIDE:
            begin = data.rfind(octet, begin) + 1 or begin
        if begin == len(data):
            return begin
        match = self._partial.search(data, begin)
        return len(data) if match is None else match.start()


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
