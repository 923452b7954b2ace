"""What `test_rewriting` cannot see: names and parents themselves, and text that is no XML."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import UpstreamProtocolError
from proxy.rules.xml_places import MOST_OPEN, XmlPlaces

Answer = tuple[str | None, str]


def asked(document: bytes, size: int) -> list[Answer]:
    """Name and parent at each `@`, the document coming in pieces."""
    places = XmlPlaces()
    answers: list[Answer] = []
    for begin in range(0, len(document), size):
        piece = document[begin : begin + size]
        positions = [index for index, octet in enumerate(piece) if octet == ord("@")]
        answers += [(places.name(piece, at), places.parent(piece, at)) for at in positions]
        places.passed(piece, len(piece))
    return answers


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (b'<a><b value="@"/></a>', [("b", "a")]),
        (b"<?xml version='1.0'?><a><b id=\"x\" value = '@'></b><c value='@'/></a>", [("b", "a"), ("c", "a")]),
        (b'<f:a xmlns:f="u"><f:b value="@"/></f:a>', [("b", "a")]),
        (b'<a><b/><c></c><!-- <d> --><![CDATA[<e>]]><b value="@"/></a>', [("b", "a")]),
        (b'<a><b id="@" xvalue="@" value="x@"/></a>', [(None, "a"), (None, "a"), (None, "a")]),
        (b'<a>"@<!--<b value="@"/>--><![CDATA[<b value="@"/>]]></a>', [(None, "a")] * 3),
        (b'<a value="@"/>', [("a", "")]),
    ],
)
def test_name_and_parent(document: bytes, expected: list[Answer], size: int) -> None:
    assert expected == asked(document, size)


def test_too_deep_nesting_is_an_error() -> None:
    document = b"<a>" * (MOST_OPEN + 1) + b'<b value="@'

    with pytest.raises(UpstreamProtocolError, match=f"nested more than {MOST_OPEN} levels deep"):
        XmlPlaces().name(document, len(document) - 1)


@given(st.text(st.sampled_from("@\"'<>/!-?= valueb"), max_size=40), st.integers(1, 50))
def test_text_that_is_no_xml_is_no_error(text: str, size: int) -> None:
    assert len(asked(text.encode(), size)) == text.count("@")
