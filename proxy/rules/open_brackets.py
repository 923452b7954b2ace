"""Where those brackets of a JSON text stand that are still open at its end."""

from __future__ import annotations

import re
from collections.abc import Iterator

_QUOTES = 512
"""How many are looked at together: what is looked for is among the last, and each takes some memory."""

_BRACKET = re.compile(rb"[{}\[\]]")
_BETWEEN_VALUES = b" \t\r\n:,"
_CLOSING = b"}]"


def last_open(plain: bytes, end: int, count: int) -> list[int]:
    """Where the last `count` brackets stand that nothing closes before `end`, from right to left.

    The text holds no escaped quote, and up to `end` as many quotes as delimit strings.
    """
    positions: list[int] = []
    depth = 0
    for start, outside in _outside_of_strings(plain[:end]) if count else ():
        if not outside.strip(_BETWEEN_VALUES):
            continue
        for bracket in reversed([start + match.start() for match in _BRACKET.finditer(outside)]):
            if plain[bracket] in _CLOSING:
                depth += 1
            elif depth:
                depth -= 1
            else:
                positions.append(bracket)
        if len(positions) >= count:
            break
    return positions[:count]


def _outside_of_strings(text: bytes) -> Iterator[tuple[int, bytes]]:
    """Where each piece between strings begins, and the piece, from right to left."""
    pieces = [text]
    while pieces:
        at = len(text)
        text, *pieces = text.rsplit(b'"', _QUOTES)
        for index in range(len(pieces) - 1, 0, -2):
            at -= len(pieces[index])
            yield at, pieces[index]
            at -= len(pieces[index - 1]) + 2
    yield 0, text
