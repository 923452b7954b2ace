"""A body that is all at hand comes out as one that comes in pieces."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import RequestRefused, UpstreamProtocolError
from proxy.model import BaseUrl, Classified, Interaction
from proxy.rules.binaries import sparing_content
from proxy.rules.bodies import BodyPath
from proxy.rules.capabilities import security_remover
from proxy.rules.coding import decoder
from proxy.rules.rewriting import Rewriter, request_rewriter, response_rewriter
from proxy.rules.urls import UrlMap

from .test_rewriting_properties import LOCAL, SPELLINGS, URL_MAP, U, json_values, xml_elements

KEY_PATH = "/k/Secret-key_12345"
KEYED = UrlMap(
    BaseUrl.parse(U),
    aliases=[BaseUrl.parse("http://x/y")],
    authorities=("localhost:8080",),
    key_path=KEY_PATH,
)
JSON, NDJSON, XML, FORM = (
    "application/json",
    "application/ndjson",
    "text/xml",
    "application/x-www-form-urlencoded",
)
PATCH = "application/json-patch+json"


def down(media_type: str) -> BodyPath:
    return path(response_rewriter(media_type, URL_MAP, LOCAL))


def up(media_type: str) -> BodyPath:
    return path(request_rewriter(media_type, URL_MAP))


def keyed_down(media_type: str) -> BodyPath:
    return path(response_rewriter(media_type, KEYED, b"http://localhost:8080" + KEY_PATH.encode()))


def metadata(media_type: str) -> BodyPath:
    return path(security_remover(media_type), response_rewriter(media_type, URL_MAP, LOCAL))


def binary(media_type: str) -> BodyPath:
    rewriter = request_rewriter(media_type, URL_MAP)
    assert rewriter is not None
    return path(sparing_content(Classified(Interaction.UPDATE, "Binary"), media_type, rewriter))


def path(*rewriters: Rewriter | None) -> BodyPath:
    return BodyPath([rewriter for rewriter in rewriters if rewriter is not None])


def came_in(path: BodyPath, body: bytes, size: int) -> bytes | str:
    """What comes out of a body in pieces, or why nothing does."""
    try:
        pieces = [piece for at in range(0, len(body), size) for piece in path.feed(body[at : at + size])]
        return b"".join([*pieces, *path.flush()])
    except RequestRefused as refused:
        return refused.message


def came_whole(path: BodyPath, body: bytes) -> bytes | str | None:
    try:
        return path.whole(body)
    except RequestRefused as refused:
        return refused.message


OWN = [local.replace('"', "") for local in SPELLINGS.values()]
own_texts = st.lists(
    st.sampled_from([*OWN, '"', ' "', '"endpoint":"', '[{"op":"add","path":"/address","value":"', '"}]', "/x", "?u=", "-"])
).map("".join)  # fmt: skip
sizes = st.sampled_from([1, 7, 100, 1 << 30])


@given(json_values(), st.sampled_from([down, keyed_down, metadata]), st.sampled_from([JSON, NDJSON]), sizes)
def test_json_on_its_way_down(
    document: str, make: Callable[[str], BodyPath], media_type: str, size: int
) -> None:
    body = document.encode() if media_type == JSON else document.replace("\n", " ").encode()

    assert came_in(make(media_type), body, size) == came_whole(make(media_type), body)


@given(xml_elements(), st.sampled_from([down, keyed_down, metadata]), sizes)
def test_xml_on_its_way_down(element: tuple[str, str], make: Callable[[str], BodyPath], size: int) -> None:
    body = element[0].encode()

    assert came_in(make(XML), body, size) == came_whole(make(XML), body)


@given(own_texts, st.sampled_from([up, binary]), st.sampled_from([JSON, PATCH, XML, FORM]), sizes)
def test_anything_on_its_way_up(
    text: str, make: Callable[[str], BodyPath], media_type: str, size: int
) -> None:
    body = text.encode()

    assert came_in(make(media_type), body, size) == came_whole(make(media_type), body)


@pytest.mark.parametrize("make", [down, up])
@pytest.mark.parametrize("media_type", [JSON, NDJSON, XML])
def test_body_without_an_address_is_itself(make: Callable[[str], BodyPath], media_type: str) -> None:
    body = b'{"resourceType":"Patient"} <Patient/>'

    assert make(media_type).whole(body) is body


def test_what_has_to_be_decoded_comes_in_pieces_alone() -> None:
    path = BodyPath([], decoder("gzip", UpstreamProtocolError))

    assert not path.is_direct
