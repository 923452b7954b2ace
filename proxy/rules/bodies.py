"""The way of a body through the proxy: its coding undone where it must be read, then each rewriter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .coding import Decoder
from .rewriting import Rewriter


class BodyPath:
    """Feed it each chunk, flush it at the end, pass on every piece that it gives.

    Pieces come one at a time and are bounded, however small the coded chunk that they come from.
    """

    __slots__ = ("_decoder", "_rewriters")

    def __init__(self, rewriters: Sequence[Rewriter], decoder: Decoder | None = None) -> None:
        self._rewriters = rewriters
        self._decoder = decoder

    @property
    def is_direct(self) -> bool:
        """Whether nothing has to be decoded, so that what comes out is about as large as what goes in."""
        return self._decoder is None

    def whole(self, body: bytes) -> bytes:
        """What `feed` and `flush` would give of a body that is all at hand, in one piece; for a direct path alone."""
        for rewriter in self._rewriters:
            body = rewriter.whole(body)
        return body

    def pieces(self, body: bytes) -> Iterator[bytes]:
        """What `feed` and `flush` give of a body that is all at hand."""
        yield from self.feed(body)
        yield from self.flush()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What can be passed on after this chunk; nothing of it is empty."""
        for piece in self._decoder.feed(chunk) if self._decoder else (chunk,):
            rewritten = piece
            for rewriter in self._rewriters:
                rewritten = rewriter.feed(rewritten)
            if rewritten:
                yield rewritten

    def flush(self) -> Iterator[bytes]:
        """What was held back; raises the decoder's error where the coded body is not whole."""
        if self._decoder:
            self._decoder.flush()
        rest = b""
        for rewriter in self._rewriters:
            rest = (rewriter.feed(rest) if rest else b"") + rewriter.flush()
        if rest:
            yield rest
