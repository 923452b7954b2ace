"""What stands in every spelling of a base URL, and is looked for first: its host, or its port."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from importlib import import_module
from itertools import product
from typing import Final

from ..model import DEFAULT_PORTS, BaseUrl

Search = Callable[[bytes], list[int]]
"""Where a needle may stand in data, from left to right."""

Piece = tuple[bytes, int]
"""A part of a needle, and where in it that begins."""

PIECE_LETTERS: Final = 4
"""Letters of a piece of a host: enough to be rare, and few enough to be looked for in every case."""

MOST_PIECES: Final = 16
"""More of them are not looked for in every case."""

_IN_OTHER_HOSTS: Final = frozenset({b"info"})
"""Labels that almost every body holds: http://snomed.info/sct."""


class Needles:
    """Lower-case bytes that are looked for in data, all at once and in any case."""

    __slots__ = ("_pieces", "_search", "texts")

    def __init__(self, texts: Collection[bytes]) -> None:
        self.texts: Final = tuple(sorted(texts, key=len, reverse=True))
        self._pieces = _pieces_of(self.texts) or [(text, 0) for text in self.texts]
        self._search: Search | None = None  # made when it is first needed, which no start has to wait for

    def positions(self, data: bytes) -> list[int]:
        """Every place where one of them stands, from left to right, but for those that begin within another one.

        There may be more places, even negative ones: where only a part of one stands.
        """
        search = self._search
        if search is None:
            search = self._search = fastest_search(self._pieces)
        return search(data)

    def count(self, text: bytes) -> int:
        """How many places there are in a short text."""
        folded = text.lower()
        return sum([folded.count(piece) for piece, _ in self._pieces])


def _pieces_of(texts: Sequence[bytes]) -> list[Piece]:
    """A part of each text that tells as much; empty where not all of them have one of their own."""
    pieces = {piece: text.find(piece) for text in texts if (piece := piece_of(text))}
    return list(pieces.items()) if len(pieces) == len(texts) <= MOST_PIECES else []


def piece_of(host: bytes) -> bytes:
    """A dot with the letters behind it, those of the longest label but the first; empty where they are too few.

    Two such pieces never overlap, and few bytes of a body are dots, at which a search stops.
    """
    labels = [label for label in host.split(b".")[1:] if label not in _IN_OTHER_HOSTS]
    letters = max(labels, key=len, default=b"")[:PIECE_LETTERS]
    return b"." + letters if len(letters) == PIECE_LETTERS and letters.isalpha() else b""


def fastest_search(pieces: Sequence[Piece]) -> Search:
    """What looks for these pieces: a fifth of the time where the extra `speed` is there."""
    try:
        library = import_module("ahocorasick_rs")
    except ImportError:
        return plain_search(pieces)
    if all(piece.startswith(b".") for piece, _ in pieces):
        # To look for every spelling takes a third of the time of making all data lower-case first.
        spellings = [(spelling, begin) for piece, begin in pieces for spelling in _in_any_case(piece)]
        fold = None
    else:
        spellings, fold = list(pieces), _folding(pieces)
    automaton = library.BytesAhoCorasick([piece for piece, _ in spellings], library.MatchKind.LeftmostLongest)
    find = automaton.find_matches_as_indexes
    begins = [begin for _, begin in spellings]
    first = begins[0]
    if begins.count(first) == len(begins):
        return lambda data: [at - first for _, at, _ in find(fold(data) if fold else data)]
    return lambda data: sorted([at - begins[number] for number, at, _ in find(fold(data) if fold else data)])


def plain_search(pieces: Sequence[Piece]) -> Search:
    """What looks for these pieces, in Python alone."""
    begins, fold = dict(pieces), _folding(pieces)
    find = re.compile(b"|".join([re.escape(piece) for piece, _ in pieces])).finditer
    return lambda data: sorted([at.start() - begins[at[0]] for at in find(fold(data) if fold else data)])


def _folding(pieces: Sequence[Piece]) -> Callable[[bytes], bytes] | None:
    """Makes data lower-case, where that makes a difference."""
    return bytes.lower if any(piece != piece.upper() for piece, _ in pieces) else None


def _in_any_case(piece: bytes) -> list[bytes]:
    cases = [sorted({letter, bytes([letter]).upper()[0]}) for letter in piece]
    return [bytes(letters) for letters in product(*cases)]


def needles_of(bases: Collection[BaseUrl]) -> Needles:
    """Needles of which one stands in every spelling of any base: one port that all share, or the hosts."""
    ports = {base.port for base in bases}
    if len(ports) == 1 and not any(base.port == DEFAULT_PORTS[base.scheme] for base in bases):
        return Needles([b"%d" % ports.pop()])
    # The colons of an IPv6 address may be encoded; the longest of what is between them is not.
    return Needles({max(base.host.split(":"), key=len).encode("ascii") for base in bases})
