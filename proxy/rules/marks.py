"""Marks in local URLs, by which an address in an odd spelling goes up as it came down.

A server may write `HTTPS://X:443:443/fhir`, or an alias, where its base URL is `https://x/fhir`. The tool has to
find it through the proxy, and a record that holds it must not change when the tool sends it back: to servers the
spellings are not equal (Microsoft's and HAPI's tell their own references from others by them). So the local
URL carries the odd base behind its own: `http://localhost:8080/u/SFRUUFM6Ly9YOjQ0Mzo0NDMvZmhpcg/Patient/1`.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from functools import lru_cache
from typing import Final

from .spellings import MARK_MOUNT

# The end of a slash in any of its spellings, `u`, and a slash.
_MARKED: Final = re.compile(
    rb"(?:/|2[Ff]|;)u(?:\\?/|\\u002[Ff]|&#x2[Ff];|&#47;|%(?:25)?2[Ff])(?P<mark>[A-Za-z0-9_-]+)\Z"
)


def mark(url: bytes) -> bytes:
    """The end of a local base URL that stands for a base URL as the server wrote it."""
    return MARK_MOUNT.encode("ascii") + urlsafe_b64encode(url).rstrip(b"=")


def longest_mark(longest_url: int) -> int:
    """Characters of the longest mark, without what stands before it."""
    return (longest_url * 4 + 2) // 3


@lru_cache(maxsize=256)
def mark_at_end(matched: bytes) -> bytes:
    """The mark with which a match of a local base URL ends; empty where there is none."""
    found = _MARKED.search(matched)
    return found["mark"] if found else b""


def marked_url(found: bytes) -> bytes:
    """What a mark stands for; empty where it is none."""
    try:
        return urlsafe_b64decode(found + b"=" * (-len(found) % 4))
    except Error:
        return b""
