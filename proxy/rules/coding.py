"""Content codings (RFC 9110 section 8.4.1): undone in a streaming way where a body must be rewritten.

gzip and deflate are always at hand; br and zstd where a library is installed that can bound its output, since
what comes out of one chunk may be a thousand times its size. Pieces come out one at a time, so that no more
than one is in memory. zlib-ng, where installed, does what zlib does in a third of the time.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from types import ModuleType
from typing import Protocol

from ..errors import ProxyError

MOST_PIECE = 256 * 1024
"""Bytes that come out at a time, about."""

MOST_EXPANSION = 500
"""Bytes out for one byte in. Generated records reach 75 with gzip and 210 with br, one line repeated 240 with
gzip; zeros 1,030 (the most that deflate can do) and with br 380,000."""

FREE_EXPANSION = 16 * 1024 * 1024
"""Bytes out that nobody asks about: a small body of white space is no bomb."""

MOST_CODINGS = 3
"""Codings one upon the other; each may multiply the work of the one before, and more than one is rare."""

_ZSTD_WINDOW_LOG = 23
"""RFC 9659 section 3: for HTTP a window of at most 8 MB."""


_GZIP_BITS = 16 + zlib.MAX_WBITS
"""zlib's code for a gzip wrapper."""


class Damaged(Exception):
    """The coded data is not what its coding says; `Decoder` makes of it the error that it was given."""


class Stage(Protocol):
    """Undoes one coding."""

    @property
    def ended(self) -> bool:
        """Whether the coded data may end here."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What comes out of some coded data; raises Damaged."""


def _library(*names: str) -> ModuleType | None:
    for name in names:
        try:
            return import_module(name)
        except ImportError:
            continue
    return None


_zlib = _library("zlib_ng.zlib_ng") or zlib


class _Zlib:
    """gzip of one or more members (RFC 1952 section 2.2), and deflate with its wrapper or without."""

    def __init__(self, window_bits: int) -> None:
        self.ended = True
        self._window_bits = window_bits
        self._stream = _zlib.decompressobj(window_bits)

    def feed(self, data: bytes) -> Iterator[bytes]:
        more = bool(data)
        while more:
            if self._stream.eof:
                data = self._next_member(data)
                if not data:
                    return
            try:
                piece: bytes = self._stream.decompress(data, MOST_PIECE)
            except _zlib.error as exc:
                raise Damaged(str(exc)) from exc
            data = self._stream.unused_data or self._stream.unconsumed_tail
            self.ended = bool(self._stream.eof)
            more = bool(data) or len(piece) == MOST_PIECE
            if piece:
                yield piece

    def _next_member(self, data: bytes) -> bytes:
        # Archivers fill up with zeros after the last member.
        data = data.lstrip(b"\0")
        if data and self._window_bits != _GZIP_BITS:
            raise Damaged("it goes on after its end")
        self._stream = _zlib.decompressobj(self._window_bits) if data else self._stream
        return data


class _Deflate:
    """deflate: RFC 9110 section 8.4.1.2 wants zlib's wrapper, some servers leave it out; two bytes tell."""

    def __init__(self) -> None:
        self._begun = b""
        self._stage: _Zlib | None = None

    @property
    def ended(self) -> bool:
        return not self._begun if self._stage is None else self._stage.ended

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._stage is None:
            data = self._begun = self._begun + data
            if len(data) < 2:
                return
            # RFC 1950 section 2.2: method 8, and both bytes together a multiple of 31.
            wrapped = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
            self._stage = _Zlib(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
        yield from self._stage.feed(data)


class _Brotli:
    """br (RFC 7932)."""

    def __init__(self, library: ModuleType) -> None:
        self.ended = True
        self._error: type[Exception] = library.error
        self._stream = library.Decompressor()

    def feed(self, data: bytes) -> Iterator[bytes]:
        if data and self._stream.is_finished():
            raise Damaged("it goes on after its end")
        more = bool(data)
        while more:
            try:
                piece: bytes = self._stream.process(data, output_buffer_limit=MOST_PIECE)
            except self._error as exc:
                raise Damaged(str(exc)) from exc
            data = b""
            self.ended = bool(self._stream.is_finished())
            # It may have taken all data and hold back output; that is known only by asking.
            more = bool(piece) and not self.ended
            if piece:
                yield piece


class _Zstd:
    """zstd (RFC 8878) of one or more frames."""

    def __init__(self, library: ModuleType) -> None:
        self.ended = True
        self._library = library
        self._error: type[Exception] = library.ZstdError
        self._open()

    def _open(self) -> None:
        library = self._library
        options = {library.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
        self._stream = library.ZstdDecompressor(options=options)

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data or not (self._stream.eof or self._stream.needs_input):
            if self._stream.eof:
                self._open()
            try:
                piece: bytes = self._stream.decompress(data, max_length=MOST_PIECE)
            except self._error as exc:
                raise Damaged(str(exc)) from exc
            data = self._stream.unused_data if self._stream.eof else b""
            self.ended = bool(self._stream.eof)
            if piece:
                yield piece


def _bounds_output(library: ModuleType) -> bool:
    """Whether a brotli library can; those before 1.2 cannot."""
    try:
        library.Decompressor().process(b"", output_buffer_limit=MOST_PIECE)
    except TypeError:
        return False
    return True


def _stages() -> dict[str, Callable[[], Stage]]:
    stages: dict[str, Callable[[], Stage]] = {"gzip": lambda: _Zlib(_GZIP_BITS), "deflate": _Deflate}
    brotli = _library("brotli", "brotlicffi")
    if brotli is not None and _bounds_output(brotli):
        stages["br"] = lambda: _Brotli(brotli)
    zstd = _library("compression.zstd", "backports.zstd")
    if zstd is not None:
        stages["zstd"] = lambda: _Zstd(zstd)
    return stages


_STAGES = _stages()
_SAME = {"x-gzip": "gzip"}
"""RFC 9110 section 8.4.1.3."""


class Decoder:
    """Undoes the codings of one body: `feed` each chunk and take all pieces, and `flush` once at its end.

    Both raise `damaged` where the data is not what its coding says or ends early; `too_large` is for what comes
    to more than `MOST_EXPANSION` times its size.
    """

    __slots__ = ("_codings", "_damaged", "_sizes", "_stages", "_too_large")

    def __init__(
        self, codings: Sequence[str], damaged: type[ProxyError], too_large: type[ProxyError]
    ) -> None:
        """Take the codings in the order in which they are to be undone."""
        self._codings = codings
        self._stages = [_STAGES[coding]() for coding in codings]
        self._sizes = [[0, 0] for _ in codings]
        self._damaged = damaged
        self._too_large = too_large

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The decoded pieces of a chunk, each of a bounded size."""
        pieces: Iterable[bytes] = (chunk,)
        for index in range(len(self._stages)):
            pieces = self._through(index, pieces)
        yield from pieces

    def flush(self) -> None:
        """Take notice that the body has ended."""
        for stage, coding in zip(self._stages, self._codings, strict=True):
            if not stage.ended:
                raise self._damaged(f"the body ends in the middle of its {coding} data")

    def _through(self, index: int, pieces: Iterable[bytes]) -> Iterator[bytes]:
        stage, coding, size = self._stages[index], self._codings[index], self._sizes[index]
        for coded in pieces:
            size[0] += len(coded)
            try:
                for piece in stage.feed(coded):
                    size[1] += len(piece)
                    if size[1] > FREE_EXPANSION + MOST_EXPANSION * size[0]:
                        raise self._too_large(
                            f"the body's {coding} data comes to more than {MOST_EXPANSION} times its size"
                        )
                    yield piece
            except Damaged as exc:
                raise self._damaged(f"the body is not {coding} data: {exc}") from exc


def decoder(
    content_encoding: str, damaged: type[ProxyError], too_large: type[ProxyError] | None = None
) -> Decoder | None:
    """A decoder for a `Content-Encoding` value; None where one of its codings cannot be undone here.

    `damaged` is what a bad body raises, UpstreamProtocolError for an answer, BadRequest for a request;
    `too_large` what a bomb raises, where that is another error.
    """
    named = [coding.strip().lower() for coding in content_encoding.split(",")]
    codings = [_SAME.get(coding, coding) for coding in reversed(named) if coding not in {"", "identity"}]
    if len(codings) > MOST_CODINGS or not all(coding in _STAGES for coding in codings):
        return None
    return Decoder(codings, damaged, too_large or damaged)


def accept_encoding() -> bytes:
    """The `Accept-Encoding` value that asks for what can be decoded here."""
    return ", ".join(_STAGES).encode("ascii")


def acceptable(accept_encoding_field: str | None, coding: str) -> bool:
    """Whether a client takes a coding, or `identity` (RFC 9110 section 12.5.3); None is for a field not sent."""
    if accept_encoding_field is None:
        return True
    weights: dict[str, float] = {}
    for element in accept_encoding_field.lower().split(","):
        name, *parameters = (part.strip() for part in element.split(";"))
        if name:
            weights[_SAME.get(name, name)] = _weight(parameters)
    coding = _SAME.get(coding.lower(), coding.lower())
    unnamed = 1.0 if coding == "identity" else 0.0
    return weights.get(coding, weights.get("*", unnamed)) > 0


def _weight(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0  # what cannot be read is not wanted
    return 1.0
