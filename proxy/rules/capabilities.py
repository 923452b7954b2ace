"""Hide the server's own OAuth from tools: a tool that sees it starts a sign-in of its own.

`rest.security` of the statement at `/metadata` is cut out of the bytes as they stream, and no other byte
changes. It is removed whole, `cors` included, since what it says is true of the server and not of this proxy.
Only CapabilityStatement (DSTU2: Conformance) has a `rest` at its root, so nothing else is looked at.

Both readers are generators that stop wherever the input does, so where a chunk ends makes no difference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Mapping
from enum import Enum

Reading = Generator[None, bytes, None]
"""Reads on through the input; what it is sent is the next chunk."""


def security_remover(media_type: str) -> SecurityRemover | None:
    """A remover for that media type, which may have parameters; None where it is neither JSON nor XML."""
    name = media_type.partition(";")[0].strip().lower()
    return next((SecurityRemover(read) for ending, read in _READERS.items() if name.endswith(ending)), None)


class SecurityRemover:
    """Takes a CapabilityStatement in chunks and gives it back without `rest.security`.

    Holds back no more than one comma and one name. What is not well-formed passes as it is from there on.
    """

    def __init__(self, read: Callable[[_Source], Reading]) -> None:
        self._source = _Source()
        self._reading = self._source.through(read)
        next(self._reading)

    def feed(self, chunk: bytes) -> bytes:
        """What can be sent now."""
        self._reading.send(chunk)
        return self._source.take()

    def flush(self) -> bytes:
        """What was held back at the end of the input."""
        self._source.turn(_Fate.SEND)
        return self._source.take()

    def whole(self, body: bytes) -> bytes:
        """What both make of a body that is all at hand."""
        return self.feed(body) + self.flush()


class _Fate(Enum):
    """What becomes of the bytes being read: sent, kept until that is known, or left out."""

    SEND = "send"
    HOLD = "hold"
    DROP = "drop"


class _NotAsExpected(Exception):
    """The input is not what it should be at this place."""


_LONGEST_HELD = 4096
"""Bytes from a comma to the end of the key after it; indentation and FHIR's names stay far below."""


class _Source:
    """The input as far as it has come, with the place of reading and the fate of what is read."""

    def __init__(self) -> None:
        self.data = b""
        self.at = 0
        self._settled = 0  # the bytes before this one have been sent or dropped
        self._fate = _Fate.SEND
        self._sent: list[bytes] = []

    def through(self, read: Callable[[_Source], Reading]) -> Reading:
        """Read a document, then pass all that follows it."""
        try:
            yield from read(self)
        except _NotAsExpected:
            self.at = len(self.data)
        self.turn(_Fate.SEND)
        while True:
            self.at = len(self.data)
            yield from self._more()

    def take(self) -> bytes:
        """What is to be sent since the last time."""
        sent = b"".join(self._sent)
        self._sent.clear()
        return sent

    def turn(self, fate: _Fate) -> None:
        """What has been read meets its fate, or the new one if it was held; what comes, the new one."""
        if (fate if self._fate is _Fate.HOLD else self._fate) is _Fate.SEND:
            self._sent.append(self.data[self._settled : self.at])
        self._settled = self.at
        self._fate = fate

    def held(self) -> bytes:
        """What has been read since the last turn."""
        self._bound()
        return self.data[self._settled : self.at]

    def peek(self) -> Generator[None, bytes, bytes]:
        """The next byte, not read yet."""
        while self.at == len(self.data):
            yield from self._more()
        return self.data[self.at : self.at + 1]

    def skip(self, run: Callable[[bytes, int], re.Match[bytes] | None]) -> Generator[None, bytes, bytes]:
        """Read while `run`, the `match` of a pattern, goes on; the byte after it, not read yet."""
        while True:
            match = run(self.data, self.at)
            if match:
                self.at = match.end()
            if self.at < len(self.data):
                return self.data[self.at : self.at + 1]
            yield from self._more()

    def until(self, end: bytes) -> Reading:
        """Read to the end of the first `end`, which has two bytes or more."""
        tail = b""  # of the chunks before: `end` may lie across the seam
        while True:
            yield from self.peek()
            across = (tail + self.data[self.at : self.at + len(end) - 1]).find(end)
            if across >= 0:
                self.at += across + len(end) - len(tail)
                return
            found = self.data.find(end, self.at)
            if found >= 0:
                self.at = found + len(end)
                return
            tail = (tail + self.data[self.at :])[1 - len(end) :]
            self.at = len(self.data)

    def _bound(self) -> None:
        if self.at - self._settled > _LONGEST_HELD:
            raise _NotAsExpected

    def _more(self) -> Reading:
        """Wait for the next chunk; all before `at` has been read."""
        if self._fate is _Fate.HOLD:
            self._bound()
        else:
            self.turn(self._fate)
        chunk = yield
        self.data = self.data[self._settled :] + chunk
        self.at -= self._settled
        self._settled = 0


# JSON (RFC 8259) ------------------------------------------------------------------------------------------

_BEFORE_ROOT = re.compile(rb"[ \t\n\r\xef\xbb\xbf]*").match  # white space, and UTF-8's byte order mark
_SPACE = re.compile(rb"[ \t\n\r]*").match
_IN_STRING = re.compile(rb'[^"\\]*').match
_SCALAR = re.compile(rb"[-+.0-9A-Za-z]*").match
_BETWEEN_BRACKETS = re.compile(
    rb"""(?:[^"{}\[\]]+|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+""", re.DOTALL
).match  # strings in one go where they are whole


def _json_document(source: _Source) -> Reading:
    yield from source.skip(_BEFORE_ROOT)
    yield from _object(source, inside={"rest": _rest}, hidden=None)


def _rest(source: _Source) -> Reading:
    if (yield from source.skip(_SPACE)) != b"[":
        yield from _value(source)
        return
    source.at += 1
    byte = yield from source.skip(_SPACE)
    while byte != b"]":
        if byte == b"{":
            yield from _object(source, inside={}, hidden="security")
        else:
            yield from _value(source)
        byte = yield from source.skip(_SPACE)
        if byte == b",":
            source.at += 1
            byte = yield from source.skip(_SPACE)
        elif byte != b"]":
            raise _NotAsExpected
    source.at += 1


def _object(
    source: _Source, *, inside: Mapping[str, Callable[[_Source], Reading]], hidden: str | None
) -> Reading:
    """Read an object; drop members called `hidden`, read others by `inside` where it names them.

    With a member goes the comma before it, or, where none is kept before it, the one after it.
    """
    yield from _expect(source, b"{")
    byte = yield from source.skip(_SPACE)
    if byte == b"}":
        source.at += 1
        return
    source.turn(_Fate.HOLD)
    one_is_kept = False
    while True:
        key = yield from _key(source)
        is_dropped = key == hidden
        source.turn(_Fate.DROP if is_dropped else _Fate.SEND)
        yield from _expect(source, b":")
        yield from source.skip(_SPACE)
        yield from inside.get(key, _value)(source)
        one_is_kept = one_is_kept or not is_dropped
        if one_is_kept:
            source.turn(_Fate.SEND)
        byte = yield from source.skip(_SPACE)
        if byte == b"}":
            source.turn(_Fate.SEND)
            source.at += 1
            return
        if one_is_kept:
            source.turn(_Fate.HOLD)
        yield from _expect(source, b",")
        yield from source.skip(_SPACE)
        if not one_is_kept:
            source.turn(_Fate.HOLD)


def _key(source: _Source) -> Generator[None, bytes, str]:
    before = len(source.held())
    if (yield from source.peek()) != b'"':
        raise _NotAsExpected
    yield from _string(source)
    try:
        return str(json.loads(source.held()[before:]))
    except ValueError:
        raise _NotAsExpected from None


def _value(source: _Source) -> Reading:
    byte = yield from source.peek()
    if byte == b'"':
        yield from _string(source)
        return
    if byte not in {b"{", b"["}:
        yield from source.skip(_SCALAR)
        return
    depth = 0
    while True:
        byte = yield from source.skip(_BETWEEN_BRACKETS)
        if byte == b'"':
            yield from _string(source)
            continue
        source.at += 1
        depth += 1 if byte in {b"{", b"["} else -1
        if not depth:
            return


def _string(source: _Source) -> Reading:
    source.at += 1
    while (yield from source.skip(_IN_STRING)) != b'"':
        source.at += 1
        yield from source.peek()
        source.at += 1
    source.at += 1


def _expect(source: _Source, byte: bytes) -> Reading:
    if (yield from source.skip(_SPACE)) != byte:
        raise _NotAsExpected
    source.at += 1


# XML 1.0 --------------------------------------------------------------------------------------------------

_TEXT = re.compile(rb"[^<]*").match
_NAME = re.compile(rb"[^\s/>]*").match
_IN_END_TAG = re.compile(rb"[^>]*").match
_IN_QUOTES = {b'"': re.compile(rb'[^"]*').match, b"'": re.compile(rb"[^']*").match}
_BETWEEN_ENDS = re.compile(rb"""(?:[^"'/>]+|"[^"]*"|'[^']*')*+""").match

_DEPTH_OF_REST = 1
_DEPTH_OF_SECURITY = 2


def _xml_document(source: _Source) -> Reading:
    depth = 0
    in_rest = False
    is_dropped = False
    while True:
        yield from source.skip(_TEXT)
        if not is_dropped:
            source.turn(_Fate.HOLD)
        source.at += 1
        byte = yield from source.peek()
        if byte in {b"!", b"?", b"/"}:
            if not is_dropped:
                source.turn(_Fate.SEND)
            yield from _MARKUP[byte](source)
            depth -= byte == b"/"
            is_element = byte == b"/"
        else:
            yield from source.skip(_NAME)
            if not is_dropped:
                name = source.held()[1:].rpartition(b":")[2]
                if depth == _DEPTH_OF_REST:
                    in_rest = name == b"rest"
                is_dropped = in_rest and depth == _DEPTH_OF_SECURITY and name == b"security"
                source.turn(_Fate.DROP if is_dropped else _Fate.SEND)
            is_element = yield from _is_empty_element(source)
            depth += not is_element
        if is_element and is_dropped and depth == _DEPTH_OF_SECURITY:
            is_dropped = False
            source.turn(_Fate.SEND)


def _is_empty_element(source: _Source) -> Generator[None, bytes, bool]:
    """Read the rest of a start tag; whether it is an end tag as well."""
    after_slash = False
    while True:
        byte = yield from source.skip(_BETWEEN_ENDS)
        source.at += 1
        if byte == b">":
            return after_slash
        after_slash = byte == b"/"
        if not after_slash:
            yield from source.skip(_IN_QUOTES[byte])
            source.at += 1


def _declaration(source: _Source) -> Reading:
    source.at += 1
    byte = yield from source.peek()
    if byte == b"-":
        yield from source.until(b"--")
        yield from source.until(b"-->")
    elif byte == b"[":
        yield from source.until(b"]]>")
    else:
        raise _NotAsExpected  # a document type, which FHIR forbids


def _instruction(source: _Source) -> Reading:
    yield from source.until(b"?>")


def _end_tag(source: _Source) -> Reading:
    yield from source.skip(_IN_END_TAG)
    source.at += 1


_MARKUP = {b"!": _declaration, b"?": _instruction, b"/": _end_tag}

_READERS = {"json": _json_document, "xml": _xml_document}
