"""What is said of a body, where it changes on its way through the proxy (RFC 9110 section 7.7)."""

from __future__ import annotations

from typing import Final

from ..model import Fields

VOUCHING_FIELDS: Final = frozenset(
    {b"accept-ranges", b"content-digest", b"content-length", b"content-md5", b"digest", b"repr-digest"}
)
"""Fields about bytes that are no longer the same once a body is rewritten (RFC 9530, RFC 9110 section 14.3)."""

DECODED_VOUCHING_FIELDS: Final = VOUCHING_FIELDS | {b"content-encoding"}
"""The same where its coding is undone on the way."""


_WEAK: Final = b"W/"
_NOWHERE: Final[tuple[int, ...]] = ()


def transformed(fields: Fields) -> Fields:
    """The fields of a representation whose body changes on the way, less those that vouch for its bytes already."""
    for place in fields.shape.places.get(b"etag", _NOWHERE):
        tag = fields.value(place)
        if not tag.startswith(_WEAK):
            fields = fields.replacing(place, _weak(tag))
    return fields


def not_modified(fields: Fields, known: str) -> Fields:
    """The fields of a 304, which are those that a 200 would have (RFC 9110 section 15.4.5).

    Whether that was rewritten is told by `known`, the tags that the tool has of it; its size is not known.
    """
    lines = []
    for name, value in fields.without(VOUCHING_FIELDS):
        weak = _weak(value)
        is_known = name.lower() == b"etag" and weak.decode("latin-1") in known
        lines.append((name, weak if is_known else value))
    return Fields(tuple(lines))


def varying(fields: Fields) -> Fields:
    """Fields that say of a coded answer that another tool may get it in another coding (section 12.5.5)."""
    told = fields.text(b"vary").lower()
    if "accept-encoding" in told or "*" in told:
        return fields
    return fields.adding((b"Vary", b"Accept-Encoding"))


def _weak(etag: bytes) -> bytes:
    """The validator of a representation that was transformed on the way (sections 7.7 and 8.8.1)."""
    return etag if etag.startswith(_WEAK) else _WEAK + etag
