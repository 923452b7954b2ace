"""Arbitrary bytes as a body: what must hold of the rewriting for all of them."""

from __future__ import annotations

import json
from xml.parsers import expat

from proxy.model import BaseUrl
from proxy.rules.rewriting import Rewriter, request_rewriter, response_rewriter
from proxy.rules.urls import UrlMap

URL_MAP = UrlMap(
    BaseUrl.parse("https://fhir.example.org/fhir"), authorities=("localhost:8080", "127.0.0.1:8080")
)
LOCAL = b"http://localhost:8080/fhir"
MEDIA_TYPES = ("application/fhir+json", "application/fhir+xml", "application/fhir+ndjson")


def check(data: bytes) -> None:
    """Let the first byte name the type and the second one the cuts; AssertionError where something is off."""
    if len(data) < 2:
        return
    media_type, size, body = MEDIA_TYPES[data[0] % len(MEDIA_TYPES)], data[1] + 1, data[2:]
    outline_of = _outline_of_json if "json" in media_type else _outline_of_xml
    outline = outline_of(body)
    down = _fed(response_rewriter(media_type, URL_MAP, LOCAL), body, len(body))
    up = _fed(request_rewriter(media_type, URL_MAP), body, len(body))
    cut_down = _fed(response_rewriter(media_type, URL_MAP, LOCAL), body, size)
    # Where the text of no document stands between quotes is for nobody to say.
    assert down == cut_down or outline is None, "down depends on the cuts"
    assert up == _fed(request_rewriter(media_type, URL_MAP), body, size), "up depends on the cuts"
    if not any(part in body.lower() for part in (b"fhir.example.org", b"localhost", b"127.0.0.1")):
        assert down == up == body, "a body without an address of ours or of the server changed"
    for made in (down, up):
        assert outline is None or outline == outline_of(made), "the document is another one"


def _fed(rewriter: Rewriter | None, body: bytes, size: int) -> bytes:
    assert rewriter is not None
    pieces = [rewriter.feed(body[at : at + size]) for at in range(0, len(body), max(size, 1))]
    return b"".join([*pieces, rewriter.flush()])


def _outline_of_json(body: bytes) -> object:
    """The document without what its strings say; None where it is none."""
    try:
        return _without_text(json.loads(body))
    except (ValueError, RecursionError):
        return None


def _without_text(value: object) -> object:
    match value:
        case dict():
            return [_without_text(member) for member in value.values()]
        case list():
            return [_without_text(member) for member in value]
        case str():
            return ""
    return value


def _outline_of_xml(body: bytes) -> list[str] | None:
    """The elements and the names of their attributes, in order; None where it is no document."""
    outline: list[str] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda name, fields: outline.extend((name, *fields))
    parser.EndElementHandler = outline.append
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, ValueError):
        return None
    return outline
