"""Bytes of a connection -> one final response, by RFC 9112 section 6; no I/O.

llhttp reads heads and chunked bodies, but for heads that RFC 9112 leaves one reading of: HTTP/1.1, fields in visible
ASCII without spaces at their ends, no coding. tests/upstream/test_plain_heads.py compares the two. A body of known
length, or one that ends with the connection, is only counted and never goes through the parser: for large bodies
that is most of what reading costs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final

import httptools

from ..errors import UpstreamProtocolError
from ..fields import MOST_NAMES, SEPARATOR, Fields, Shape, shape_of
from ..model import ResponseHead

MAX_HEAD_BYTES: Final = 64 * 1024
"""Bytes of a response's head together with the 1xx responses before it.

FHIR servers send long `Link` and `Content-Location` fields, 32 KiB in one field has to pass; aiohttp, nginx
and node stop at 8 to 16 KiB.
"""

MAX_BARREN_BYTES: Final = 64 * 1024
"""Bytes in a row that yield no body: chunk extensions and trailers are not a second one."""

_HEAD_END: Final = b"\r\n\r\n"
_PROTOCOL: Final = b"HTTP/1."
_SPACE: Final = 0x20
_PRINTABLE: Final = bytes(range(_SPACE, 0x7F))
_PLAIN_STATUS_LINE: Final = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9]) ([!-~][ -~]*+)").fullmatch
_PLAIN_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++").fullmatch
_CONTROLS: Final = re.compile(
    rb"[\x00-\x08\x0a-\x1f\x7f]"
)  # RFC 9112 section 4: a reason holds none but HTAB


class _End(Enum):
    """What tells where a response's body ends (RFC 9112 section 6.3)."""

    LENGTH = 1
    CHUNKS = 2
    CONNECTION = 3


_FRAMES_OTHERWISE: Final = frozenset({b"transfer-encoding", b"keep-alive"})

# By name each time they are looked up by a function in Python, until 3.12.
_LENGTH: Final = _End.LENGTH
_CHUNKS: Final = _End.CHUNKS
_CONNECTION: Final = _End.CONNECTION


class ResponseReader:
    """Reads one final response to a request with the given method; `where` names the server in errors.

    Interim responses (1xx) before it are consumed. UpstreamProtocolError is raised for everything that is not
    one well-formed HTTP/1.x response; what a lenient reader might understand in two ways is never passed on.
    """

    __slots__ = (
        "_barren",
        "_buffer",
        "_end",
        "_headers_done",
        "_http_1_0",
        "_interim_bytes",
        "_lines",
        "_message_done",
        "_parser",
        "_pieces",
        "_reason",
        "_remaining",
        "_surplus",
        "_where",
        "_without_body",
        "complete",
        "continued",
        "head",
        "idle_limit",
        "length",
        "persistent",
    )

    def __init__(self, method: str, where: str) -> None:
        self.head: ResponseHead | None = None
        self.length: int | None = None
        """Bytes of the body where they are known beforehand."""
        self.complete = False
        self.continued = False
        """Whether a 100 (Continue) has come."""
        self.persistent = False
        """Whether the connection may carry another request once this response is complete."""
        self.idle_limit: float | None = None
        """Seconds for which the server keeps an idle connection, by `Keep-Alive: timeout`."""
        self._where = where
        self._without_body = method == "HEAD"
        self._parser: httptools.HttpResponseParser | None = None
        self._buffer = b""
        self._interim_bytes = 0
        self._reason = b""
        self._lines: list[tuple[bytes, bytes]] = []
        self._pieces: list[bytes] = []
        self._headers_done = False
        self._message_done = False
        self._surplus = False
        self._http_1_0 = False
        self._end = _CONNECTION
        self._remaining = 0
        self._barren = 0

    @property
    def is_inside_head(self) -> bool:
        """Whether a head has begun and not ended."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> bytes:
        """Take what the connection received; the bytes of the body that were in it."""
        if self.head is None:
            data = self._read_heads(data)
            if not data:
                return b""
        if self._end is _LENGTH:
            size = len(data)
            if size < self._remaining:
                self._remaining -= size
                return data
            self.complete = True
            if size == self._remaining:
                return data
            self.persistent = False
            return data[: self._remaining]
        if self._end is _CHUNKS:
            return self._read_chunks(data)
        return data

    def feed_eof(self) -> bool:
        """Take the orderly end of the connection; whether the response is complete by it."""
        if self.head is not None and self._end is _CONNECTION:
            self.complete = True
        return self.complete

    # What llhttp calls, by name.

    def on_message_begin(self) -> None:
        """A message starts; after the last one that was asked for it is surplus."""
        self._surplus = self._message_done

    def on_status(self, reason: bytes) -> None:
        """A piece of the reason phrase."""
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field; those after the body are trailers, which are dropped (RFC 9110 section 6.5.1)."""
        if not self._headers_done:
            self._lines.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """The head has ended."""
        self._headers_done = True

    def on_body(self, data: bytes) -> None:
        """A piece of a chunked body."""
        if not self._message_done:
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        """The message has ended."""
        self._message_done = self.head is not None

    def _read_heads(self, data: bytes) -> bytes:
        """Take 1xx heads and the final one; the bytes after it."""
        if self._buffer:  # compiled, adding nothing copies as well
            data = self._buffer + data
        while data and self.head is None:
            end = data.find(_HEAD_END)
            if self._interim_bytes + (len(data) if end < 0 else end) > MAX_HEAD_BYTES:
                raise self._error(f"a head of more than {MAX_HEAD_BYTES} bytes")
            # llhttp reads RTSP and ICE as well, and skips empty lines before the status line.
            if not data.startswith(_PROTOCOL) and not _PROTOCOL.startswith(data):
                raise self._error("something that is not HTTP/1.1")
            if end < 0:
                if b"\n\n" in data:
                    raise self._error("lines that do not end in CR LF")
                self._buffer = data
                return b""
            end += len(_HEAD_END)
            self._read_head(data[:end])
            data = data[end:]
        self._buffer = b""
        return data

    def _read_head(self, data: bytes) -> None:
        plain = _plain_head(data)
        if plain is None:
            self._parse_head(data)
        else:
            self._frame(plain.status, plain.fields)
            self.head = plain

    def _parse_head(self, data: bytes) -> None:
        if data.find(b"\0") >= 0:
            raise self._error("a head that holds NUL")
        if self._parser is None:
            self._parser = httptools.HttpResponseParser(self)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            raise self._error("101, a change of protocol that nobody asked for") from error
        except httptools.HttpParserError as error:
            # llhttp's messages are fixed sentences; they never quote the input.
            raise self._error(f"a head that cannot be read: {error}") from error
        status = self._parser.get_status_code()
        if not self._headers_done or not 100 <= status <= 599 or status == 101:
            raise self._error(f"the status {status}")
        # llhttp takes any byte in a reason phrase but CR and LF; a terminal would obey some of them.
        if _CONTROLS.search(self._reason):
            raise self._error("a reason phrase that holds control characters")
        if status >= 200:
            self._http_1_0 = self._parser.get_http_version() == "1.0"
            fields = Fields(tuple(self._lines))
            self._frame(status, fields)
            if self._end is not _CHUNKS:
                self._release_parser()
            self.head = ResponseHead(status, self._reason, fields)
            return
        self.continued = self.continued or status == 100
        self._interim_bytes += len(data)
        self._reason = b""
        self._lines = []
        self._headers_done = False

    def _frame(self, status: int, fields: Fields) -> None:
        """Decide where the body ends (RFC 9112 section 6.3), and whether the connection goes on (9.3)."""
        usual = fields.shape.remember(ResponseReader, _usual_framing)
        if usual is None or self._http_1_0 or self._without_body or status in {204, 304}:
            self._frame_by_all(status, fields)
            return
        length = fields.value(usual.length)
        says_close = usual.connection is not None and fields.value(usual.connection) != b"keep-alive"
        if says_close or not length.isdigit() or len(length) >= 19:
            self._frame_by_all(status, fields)
            return
        self.persistent = True
        self.length = self._remaining = int(length)
        self.complete = self.length == 0
        self._end = _LENGTH

    def _frame_by_all(self, status: int, fields: Fields) -> None:
        places = fields.shape.places
        lengths = fields.get_all(b"content-length") if b"content-length" in places else ()
        codings = fields.get_all(b"transfer-encoding") if b"transfer-encoding" in places else ()
        options = fields.get_all(b"connection") if b"connection" in places else ()
        if options and options != (b"keep-alive",):
            options = tuple(option.strip(b" \t") for one in options for option in one.lower().split(b","))
        if b"keep-alive" in places:
            for value in fields.get_all(b"keep-alive"):
                self.idle_limit = _timeout(value)
        self.persistent = b"close" not in options and (not self._http_1_0 or b"keep-alive" in options)
        # llhttp refuses most of these too; as they decide which bytes are whose, they stand here as well.
        if len(lengths) + len(codings) > 1:
            raise self._error("more than one Content-Length or Transfer-Encoding")
        if lengths and not (lengths[0].isdigit() and len(lengths[0]) < 19):
            raise self._error("a Content-Length that is not a number")
        if codings and (codings[0].lower() != b"chunked" or self._http_1_0):
            raise self._error("a Transfer-Encoding other than chunked")
        if self._without_body or status in {204, 304}:
            self.length = 0
            self.complete = True
            self._end = _LENGTH
        elif codings:
            self._end = _CHUNKS
        elif lengths:
            self.length = self._remaining = int(lengths[0])
            self.complete = self.length == 0
            self._end = _LENGTH
        else:
            self.persistent = False

    def _read_chunks(self, data: bytes) -> bytes:
        if self._parser is None:
            raise RuntimeError("a chunked body is read by the parser that has read its head")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            # An error after the end is about bytes that follow it: surplus, and the answer itself is whole.
            if not self._message_done:
                raise self._error(f"a chunked body that cannot be read: {error}") from error
            self._surplus = True
        pieces = self._pieces
        if self._message_done:
            self.complete = True
            self._release_parser()
            # llhttp skips empty lines between messages. Where the bytes at hand do not show that nothing
            # followed the last chunk or trailer, something may have: the connection is not used again.
            if self._surplus or not data.endswith(_HEAD_END) or data[-5:-4] in {b"", b"\r", b"\n"}:
                self.persistent = False
        elif pieces:
            self._barren = 0
        else:
            self._barren += len(data)
            if self._barren > MAX_BARREN_BYTES:
                raise self._error("a chunked body of nothing but extensions or trailers")
        if not pieces:
            return b""
        self._pieces = []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _release_parser(self) -> None:
        # The parser holds this object's methods: without the cycle memory is free at once.
        self._parser = None

    def _error(self, what: str) -> UpstreamProtocolError:
        return UpstreamProtocolError(
            f"{self._where} sent {what}.",
            hint="The server, or a gateway in front of it, breaks HTTP/1.1; the proxy does not guess.",
        )


def _plain_head(data: bytes) -> ResponseHead | None:
    """A head that RFC 9112 leaves one reading of; None where it is for llhttp to say whether it is one."""
    texts = data.split(b"\r\n")
    first, texts = texts[0], texts[1:-2]
    status = _plain_status(first)
    shape = None if status is None else _plain_shape(texts)
    if status is None or shape is None:
        return None
    return ResponseHead(status[0], status[1], Fields.read(tuple(texts), data[len(first) + 2 : -2], shape))


class _Known:
    """The names of plain lines, as a server sends them again and again, and what they have said."""

    __slots__ = ("_begins", "_texts", "shape")

    def __init__(self, names: list[bytes], texts: list[bytes], shape: Shape) -> None:
        self._begins = [name + SEPARATOR for name in names]
        self._texts = texts.copy()
        self.shape = shape

    def fits(self, texts: list[bytes]) -> bool:
        """Whether as many lines are plain and have the same names."""
        known = self._texts
        for place, begin in enumerate(self._begins):
            text = texts[place]
            if text != known[place]:
                if not text.startswith(begin) or not _is_plain_value(text, len(begin)):
                    return False
                known[place] = text
        return True


_known: Final[dict[int, _Known]] = {}
"""The last ones by their number."""


def _plain_shape(texts: list[bytes]) -> Shape | None:
    """The shape of lines that are all plain; None where one is not."""
    known = _known.get(len(texts))
    if known is not None and known.fits(texts):
        return known.shape
    names: list[bytes] = []
    for text in texts:
        name = text.partition(SEPARATOR)[0]
        if not _is_plain_value(text, len(name) + len(SEPARATOR)):
            return None
        names.append(name)
    shape = shape_of(tuple(names))
    if not shape.remember(_plain_head, _has_plain_names):
        return None
    if len(names) <= MOST_NAMES:
        _known[len(names)] = _Known(names, texts, shape)
    return shape


def _is_plain_value(text: bytes, begin: int) -> bool:
    """Whether a line prints and has a value from there on that neither begins nor ends with a space."""
    return (
        begin < len(text)
        and text[begin] != _SPACE
        and text[-1] != _SPACE
        and not text.translate(None, _PRINTABLE)
    )


@lru_cache(maxsize=64)
def _plain_status(line: bytes) -> tuple[int, bytes] | None:
    plain = _PLAIN_STATUS_LINE(line)
    return None if plain is None else (int(plain[1]), plain[2])


def _has_plain_names(shape: Shape) -> bool:
    return b"transfer-encoding" not in shape.places and all(map(_PLAIN_NAME, shape.names))


@dataclass(slots=True, unsafe_hash=True)
class _UsualFraming:
    """Where one Content-Length stands, and a Connection if there is one; nothing else frames the body."""

    length: int
    connection: int | None


def _usual_framing(shape: Shape) -> _UsualFraming | None:
    """How almost every answer is framed; None for names that say more, or less."""
    lengths, options = shape.places.get(b"content-length", ()), shape.places.get(b"connection", ())
    if len(lengths) != 1 or len(options) > 1 or not _FRAMES_OTHERWISE.isdisjoint(shape.places):
        return None
    return _UsualFraming(lengths[0], options[0] if options else None)


def _timeout(value: bytes) -> float | None:
    """The seconds of a `Keep-Alive: timeout=5, max=100` (RFC 2068 section 19.7.1.1)."""
    for part in value.lower().split(b","):
        name, _, seconds = part.strip(b" \t").partition(b"=")
        if name == b"timeout" and seconds.isdigit() and len(seconds) < 10:
            return float(seconds)
    return None
