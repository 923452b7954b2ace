"""Fields of a representation whose body is changed on its way (RFC 9110 section 7.7)."""

from __future__ import annotations

from collections.abc import Collection

from ..model import Fields

VOUCHING_FIELDS = frozenset(
    {b"accept-ranges", b"content-digest", b"content-length", b"content-md5", b"digest", b"repr-digest"}
)
"""Fields about bytes that are no longer the same once a body is rewritten (RFC 9530, RFC 9110 section 14.3)."""

DECODED_VOUCHING_FIELDS = VOUCHING_FIELDS | {b"content-encoding"}
"""The same where its coding is undone on the way."""


def transformed(fields: Fields, dropped: Collection[bytes]) -> Fields:
    """The fields of a representation whose body changes on the way, less those to drop."""
    lines = []
    for line in fields.lines:
        name = line[0].lower()
        if name not in dropped:
            lines.append((line[0], _weak(line[1])) if name == b"etag" else line)
    return Fields(tuple(lines))


def _weak(etag: bytes) -> bytes:
    """The validator of a representation that was transformed on the way (RFC 9110 sections 7.7 and 8.8.1)."""
    return etag if etag.startswith(b"W/") else b"W/" + etag
