"""One base URL written in the way in which another one was, and back."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from .spellings import forms

_COLON: Final = re.compile(rb"(?i)\\u003a|&#x3a;|&#58;|%(?:25)?3a|:")
_SLASH: Final = re.compile(rb"(?i)\\u002f|\\/|&#x2f;|&#47;|%(?:25)?2f|/")
_ESCAPE: Final = re.compile(
    rb"(?i)\\u00(?P<json>[0-9a-f]{2})|\\/|&#x(?P<hex>[0-9a-f]{2});|&#(?P<decimal>[0-9]{2,3});"
)


@lru_cache(maxsize=256)
def in_spelling_of(matched: bytes, url: bytes) -> bytes:
    """`url` with its colons, slashes and percent-encoding written as in a match.

    What the match writes in two ways, as in `%3A//`, is written so place by place.
    """
    colons, slashes = _COLON.findall(matched), _SLASH.findall(matched)
    level = _level(colons, slashes)
    scheme, _, rest = url.decode("ascii").partition("://")
    written = {":": colons[-1], "/": slashes[-1]}
    return b"".join(
        (
            scheme.encode("ascii"),
            colons[0],
            *slashes[:2],
            *(written.get(character) or _encoded(character, level) for character in rest),
        )
    )


def unescaped(matched: bytes) -> bytes:
    """The URL that a match stands for: without escapes and encoding, but with its own capitals and ports."""
    level = _level(_COLON.findall(matched), _SLASH.findall(matched))
    url = _ESCAPE.sub(_character, matched)
    for _ in range(level):
        url = unquote_to_bytes(url)
    return url


def origin_of(matched: bytes) -> bytes:
    """Scheme, host and ports of a match in their plainest spelling."""
    scheme, _, host, *_ = _SLASH.split(matched)
    return (_COLON.sub(b":", scheme + b"//" + host)).lower()


def last_segments(matched: bytes, count: int) -> list[bytes]:
    """The last segments of a match's path in their plainest spelling."""
    return [_COLON.sub(b":", segment) for segment in _SLASH.split(matched)[-count:]]


def _level(colons: list[bytes], slashes: list[bytes]) -> int:
    return max((2 if b"%25" in form else 1 if b"%" in form else 0) for form in (*colons, *slashes))


def _encoded(character: str, level: int) -> bytes:
    _, encoded = forms(character, level)
    return (encoded[0].upper() if encoded else character).encode("ascii")


def _character(escape: re.Match[bytes]) -> bytes:
    if code := escape["json"] or escape["hex"]:
        return bytes((int(code, 16),))
    return bytes((int(escape["decimal"]) & 0xFF,)) if escape["decimal"] else b"/"
