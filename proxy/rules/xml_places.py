"""Which element of an XML document a `value` attribute belongs to, found from the bytes before it.

In FHIR's XML a primitive value is always the attribute `value` of the element that carries its name
(FHIR R4 section 2.1.9.1). So text, narrative (whose elements hold text, `href` and `src`), namespaces,
`Extension.url` and ids are no values here. What the bytes of the tag itself do not tell, which element is the
parent and whether the tag is a comment's, is found by reading the document's markup up to there, once; what
has been read is forgotten.
"""

from __future__ import annotations

import re

from ..errors import UpstreamProtocolError

MOST_UNREAD = 256 * 1024
"""Bytes kept unread, as for JSON."""

MOST_MARKUP = 64 * 1024
"""Bytes of a tag without its value; what is longer is no XML, and nothing after it is a place."""

MOST_OPEN = 1000
"""Depth of nesting, as for JSON."""

_ATTRIBUTES = rb"""(?:[^>"'/]++|"[^"]*+"|'[^']*+'|/(?!>))*+"""
_MARKUP = re.compile(
    rb"[^<]*+(?:<!--.*?-->|<!\[CDATA\[.*?\]\]>|<\?.*?\?>"
    rb"""|<(?P<close>/?)(?P<name>[^\s/>"'<!?]++)%s(?P<empty>/?)>)""" % _ATTRIBUTES,
    re.DOTALL,
)
_VALUE = re.compile(
    rb"""<([^\s/>"'<!?]++)(?:\s++(?!value\s*+=)[^\s=>"'<]++\s*+=\s*+(?:"[^"]*+"|'[^']*+'))*+"""
    rb"""\s++value\s*+=\s*+["']"""
)
_IN_ATTRIBUTE = re.compile(
    rb"""<[^>"'!?]*+(?:(?:"[^"]*+"|'[^']*+')[^>"']*+)*+(?:"(?P<double>[^"]*+)|'(?P<single>[^']*+))"""
)
_UNENDED = ((b"<!--", b"--"), (b"<![CDATA[", b"]]"), (b"<?", b"?"))


class XmlPlaces:
    """The structure of one XML document, up to where it was asked last.

    It relies on well-formed XML without a document type declaration, which FHIR forbids. Raises
    UpstreamProtocolError where the nesting is deeper than `MOST_OPEN`.
    """

    __slots__ = ("_ahead", "_fragment", "_open", "_unread", "_unread_size")

    def __init__(self) -> None:
        self._open: list[str] = []
        # The markup that has begun in the read part and not ended.
        self._fragment = b""
        self._unread: list[bytes] = []
        self._unread_size = 0
        # How far into the present data has been read already.
        self._ahead = 0

    def name(self, data: bytes, start: int) -> str | None:
        """The name of the element whose `value` attribute begins at `start`."""
        if start > self._ahead and data[start - 1] not in b"\"'":
            return None
        tag = data.rfind(b"<", self._ahead, start)
        if tag >= 0 and _VALUE.fullmatch(data, tag, start) is None:
            # No attribute holds a raw `<` (XML 1.0 section 3.1), so the tag begins there or it is none.
            return None
        self._read_to(data, start)
        value = _VALUE.fullmatch(self._fragment)
        return None if value is None else _local_name(value[1])

    def parent(self, data: bytes, start: int) -> str:
        """The name of the element that holds that element."""
        self._read_to(data, start)
        return self._open[-1] if self._open else ""

    def passed(self, data: bytes, end: int) -> None:
        """Take notice that `data` up to `end` has gone by."""
        begin, self._ahead = min(self._ahead, end), 0
        if begin < end:
            self._unread.append(data if end - begin == len(data) else data[begin:end])
            self._unread_size += end - begin
        if self._unread_size > MOST_UNREAD:
            self._read(b"".join(self._unread))
            self._unread.clear()
            self._unread_size = 0

    def _read_to(self, data: bytes, start: int) -> None:
        self._read(b"".join((*self._unread, data[self._ahead : start])))
        self._unread.clear()
        self._unread_size = 0
        self._ahead = start

    def _read(self, text: bytes) -> None:
        text = self._fragment + text
        end = 0
        while markup := _MARKUP.match(text, end):
            end = markup.end()
            if not markup["name"] or markup["empty"]:
                continue
            if markup["close"]:
                del self._open[-1:]
            else:
                self._open.append(_local_name(markup["name"]))
        if len(self._open) > MOST_OPEN:
            raise UpstreamProtocolError(f"the XML is nested more than {MOST_OPEN} levels deep")
        self._fragment = _unfinished(text, end)


def _local_name(name: bytes) -> str:
    return name.rpartition(b":")[2].decode("utf-8", "replace")


def _unfinished(text: bytes, begin: int) -> bytes:
    """What to keep of markup that has begun and not ended: of a long value that it is one and has begun."""
    begin = text.find(b"<", begin)
    if begin < 0:
        return b""
    for opening, ending in _UNENDED:
        if text.startswith(opening, begin):
            return opening + text[max(begin + len(opening), len(text) - len(ending)) :]
    value = _IN_ATTRIBUTE.fullmatch(text, begin)
    if value is None or value.lastgroup is None:
        return text[begin : begin + MOST_MARKUP]
    return text[begin : value.start(value.lastgroup) + 1]
