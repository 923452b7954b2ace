"""Which element of a JSON document a string belongs to, found from the bytes before it.

Strategy: most questions are answered by the few bytes before the string, its own key. Only a key that means
different things in different places needs the object that holds it. For that the document is read as far as
the question, once, with `bytes` operations that know nothing but quotes and brackets: escapes are blanked
out, text between quotes dropped, closed pairs of brackets removed until none is left. What stays are the
brackets still open, a handful, and only their keys are looked up. What has been read is forgotten, so that
memory does not grow with the document; what has not been read is kept, and read when it exceeds
`MOST_UNREAD`.
"""

from __future__ import annotations

import json
import re

from ..errors import UpstreamProtocolError
from .open_brackets import last_open

MOST_UNREAD = 256 * 1024
"""Bytes kept unread: enough for most bodies never to be read at all, little beside a connection's buffers."""

MOST_OPEN = 1000
"""Depth of nesting; Jackson's limit, and so HAPI's. FHIR needs some thirty."""

LONGEST_KEY = 256
"""Bytes of a key that are kept; FHIR's longest element name has 46, so a longer key is none that matters."""

_NEAR = 256
"""Bytes before a string that are looked at first; a key and its white space are shorter almost always."""

_ROUNDS = 64
"""How often pairs of brackets are removed before a slower way is taken: more levels than FHIR has."""

_NO_KEY = b'"-"'
_WHITE = b" \t\r\n"
_CLOSING = b"}]"
_USUAL_BEFORE_STRING = (b'"', b' "')
_ESCAPED = re.compile(rb'\\[\\"]')
_STRING = re.compile(rb'"[^"]*(?:"|\Z)')
_INERT = bytes(octet for octet in range(256) if octet not in b'"{}[]')
_NO_MARKS = bytes(octet for octet in range(256) if octet not in b"{}[]:")
_BETWEEN_MEMBERS = frozenset({b":", b": ", b",", b", "})
_QUOTE, _COLON, _ARRAY = b'":['


def usual_writing(key: str) -> tuple[bytes, ...]:
    """What ends with the first quote of a string under this key, as most servers write it.

    It tells no less than `JsonPlaces.name`: no backslash stands before the key.
    """
    name = key.encode("ascii")
    return tuple(b'%c"%s"%s' % (before, name, after) for before in b"{, \n\t" for after in (b':"', b': "'))


class JsonPlaces:
    """The structure of one JSON document, or of one document a line (NDJSON), up to where it was asked last.

    It relies on valid JSON: of anything else it may tell a wrong name. Raises UpstreamProtocolError where the
    nesting is deeper than `MOST_OPEN`.
    """

    __slots__ = ("_ahead", "_by_line", "_fragment", "_open", "_unread", "_unread_size")

    def __init__(self, *, by_line: bool = False) -> None:
        self._by_line = by_line
        # What is open where the read part ends, outermost first: is it an array, and the name it goes by.
        self._open: list[tuple[bool, str]] = []
        # What of the read part the next one needs: a key whose value has not begun, or an unfinished string.
        self._fragment = b""
        self._unread: list[bytes] = []
        self._unread_size = 0
        # How far into the present data has been read already.
        self._ahead = 0

    def name(self, data: bytes, start: int) -> str | None:
        """The key of the string whose first character is at `start`, or that of the array that it is in."""
        near = self._near(data, start)
        # As most servers write it; the rest of this says the same of it, and of all else.
        close = near.rfind(b'":')
        if close >= 0 and near[close + 2 :] in _USUAL_BEFORE_STRING:
            opening = near.rfind(b'"', 0, close)
            if opening > 0 and b"\\" not in near[opening - 1 : close]:
                return near[opening + 1 : close].decode("utf-8", "replace")
        if near:
            if near[-1] != _QUOTE or near.endswith(b'\\"'):
                return None
            span = _key_before(near, 0, len(near) - 1)
            # Near an escape only the reading from the beginning tells which quote opens what.
            if span is not None and span[0] > 1 and b"\\" not in near[span[0] - 2 : span[1]]:
                return near[span[0] : span[1]].decode("utf-8", "replace")
            if span is None and (holder := _holder(near[:-1])) is not None:
                return holder[1] if holder[0] else None
        if not self._read_to(data, start):
            return None
        if self._fragment.endswith(b":"):
            return _decoded(self._fragment[1:-2])
        in_array = bool(self._open) and self._open[-1][0]
        return self._open[-1][1] if in_array else None

    def parent(self, data: bytes, start: int) -> str:
        """The key of the object or array that the string's element is in; empty at the root."""
        holder = _holder(self._near(data, start)[:-1])
        if holder is not None and not holder[0]:
            return holder[1]
        if not self._read_to(data, start):
            return ""
        return next((name for is_array, name in reversed(self._open) if not is_array), "")

    def passed(self, data: bytes, end: int) -> None:
        """Take notice that `data` up to `end` has gone by."""
        begin, self._ahead = min(self._ahead, end), 0
        if self._by_line and (newline := data.rfind(b"\n", begin, end)) >= 0:
            # No string holds a raw newline (RFC 8259 section 7): here a new document begins.
            self._open.clear()
            self._fragment = b""
            self._unread.clear()
            self._unread_size = 0
            begin = newline + 1
        if begin < end:
            self._unread.append(data if end - begin == len(data) else data[begin:end])
            self._unread_size += end - begin
        if self._unread_size > MOST_UNREAD:
            text = b"".join(self._unread)
            self._read(text[:-2])
            self._keep(text[-2:])

    def _near(self, data: bytes, start: int) -> bytes:
        """The last bytes before `start`, as far as they have not been read."""
        near = data[max(self._ahead, start - _NEAR) : start]
        if start < _NEAR and not self._ahead and self._unread:
            # A chunk ended here: to read all that is unread would take a thousand times as long.
            near = self._unread[-1][start - _NEAR :] + near
        return near

    def _read_to(self, data: bytes, start: int) -> bool:
        """Read up to the quote before `start`; False if there is none that opens a string.

        The quote itself, and a backslash before it, are never read ahead of the string.
        """
        text = b"".join((*self._unread, data[self._ahead : start]))
        opens = text.endswith(b'"') and not text.endswith(b'\\"')
        if opens:
            self._read(text[:-1])
            text = b'"'
        self._keep(text)
        self._ahead = start
        return opens

    def _keep(self, text: bytes) -> None:
        self._unread = [text]
        self._unread_size = len(text)

    def _read(self, text: bytes) -> None:
        if self._by_line and (newline := text.rfind(b"\n")) >= 0:
            self._open.clear()
            self._fragment = b""
            text = text[newline + 1 :]
        text = self._fragment + text
        plain = _without_escapes(text)
        # Two quotes next to each other can go: nothing changes sides.
        outside = plain.translate(None, _INERT).replace(b'""', b"")
        if b'"' in outside:
            outside = _STRING.sub(b"", outside)
        unmatched = _unmatched(outside)
        opened = len(unmatched.lstrip(_CLOSING))
        del self._open[max(0, len(self._open) - (len(unmatched) - opened)) :]
        if len(self._open) + opened > MOST_OPEN:
            raise UpstreamProtocolError(f"the JSON is nested more than {MOST_OPEN} levels deep")
        in_string = plain.count(b'"') % 2 == 1
        end = plain.rfind(b'"') if in_string else len(plain)
        for bracket in reversed(last_open(plain, end, opened)):
            span = _key_before(plain, 0, bracket)
            if span is not None:
                name = _decoded(text[span[0] : span[1]])
            else:
                name = self._open[-1][1] if self._open and self._open[-1][0] else ""
            self._open.append((plain[bracket] == _ARRAY, name))
        self._fragment = _string_fragment(text, plain, end) if in_string else _fragment(text, plain)


def _solid_end(text: bytes, begin: int, end: int) -> int:
    """Where the white space at the end of `text[begin:end]` begins."""
    if end > begin and text[end - 1] not in _WHITE:
        return end
    while end > begin:
        near = max(begin, end - _NEAR)
        solid = len(text[near:end].rstrip(_WHITE))
        if solid:
            return near + solid
        end = near
    return begin


def _key_before(text: bytes, begin: int, end: int) -> tuple[int, int] | None:
    """Where the key stands whose value begins at `end`; None where none does within `text[begin:end]`."""
    if text.endswith(b'":', begin, end):
        close = end - 2
    elif text.endswith(b'": ', begin, end):
        close = end - 3
    else:
        colon = _solid_end(text, begin, end) - 1
        if colon < begin or text[colon] != _COLON:
            return None
        close = _solid_end(text, begin, colon) - 1
        if close < begin or text[close] != _QUOTE:
            return None
    opening = text.rfind(b'"', begin, close)
    return None if opening < 0 else (opening + 1, close)


def _decoded(key: bytes) -> str:
    if b"\\" in key:
        try:
            return str(json.loads(b'"%s"' % key))
        except ValueError:
            return ""
    return key.decode("utf-8", "replace")


def _without_escapes(text: bytes) -> bytes:
    """The text, as long as before, with each quote left delimiting a string and a backslash at its end unpaired."""
    if b'\\"' not in text and not text.endswith(b"\\"):
        return text
    return _ESCAPED.sub(b"--", text)


def _unmatched(brackets: bytes) -> bytes:
    """Brackets less all pairs: closing ones, then opening ones."""
    for _ in range(_ROUNDS):
        fewer = brackets.replace(b"{}", b"").replace(b"[]", b"")
        if len(fewer) == len(brackets):
            return fewer
        brackets = fewer
    left = bytearray()
    for bracket in brackets:
        if bracket in _CLOSING and left and left[-1] not in _CLOSING:
            left.pop()
        else:
            left.append(bracket)
    return bytes(left)


def _holder(near: bytes) -> tuple[bool, str] | None:
    """What stands open at the end of a few bytes: is it an array, and its name; None if they do not tell."""
    if b"\\" in near:
        return None
    # From outside of a string, quotes pair up to the left whatever is further left.
    texts = near.split(b'"')
    depth = 0
    innermost = 0
    for index in range(len(texts) - 1, 1, -2):
        if texts[index] in _BETWEEN_MEMBERS:
            continue
        marks = texts[index].translate(None, _NO_MARKS)
        for at in range(len(marks) - 1, -1, -1):
            mark = marks[at]
            if mark in _CLOSING:
                depth += 1
            elif mark == _COLON:
                continue
            elif depth:
                depth -= 1
            # An object without a key of its own goes by the name of the array that it is in.
            elif innermost and mark != _ARRAY:
                return None
            elif at and marks[at - 1] == _COLON:
                return (innermost or mark) == _ARRAY, texts[index - 1].decode("utf-8", "replace")
            elif innermost:
                return None
            else:
                innermost = mark
    return None


def _string_fragment(text: bytes, plain: bytes, opening: int) -> bytes:
    """What to keep of an unfinished string: of a value that it is one, and whose; else its beginning."""
    span = _key_before(plain, 0, opening)
    half_escape = b"\\" if plain.endswith(b"\\") else b""
    if span is None:
        return text[opening:] if len(text) - opening <= LONGEST_KEY else b'"-' + half_escape
    return _short(text[span[0] - 1 : span[1] + 1]) + b':"' + half_escape


def _fragment(text: bytes, plain: bytes) -> bytes:
    """What to keep where no string is open: a key whose value has not begun."""
    solid = _solid_end(plain, 0, len(plain))
    if plain.endswith(b":", 0, solid):
        span = _key_before(plain, 0, solid)
        return b"" if span is None else _short(text[span[0] - 1 : span[1] + 1]) + b":"
    if plain.endswith(b'"', 0, solid):
        return _short(text[plain.rfind(b'"', 0, solid - 1) : solid])
    return b""


def _short(string: bytes) -> bytes:
    return string if len(string) <= LONGEST_KEY else _NO_KEY
