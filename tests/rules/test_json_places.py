"""What `test_rewriting` cannot see: names and parents themselves, and text that is no JSON."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import UpstreamProtocolError
from proxy.rules.json_places import MOST_OPEN, MOST_UNREAD, JsonPlaces

Answer = tuple[str | None, str]


def asked(document: bytes, size: int) -> list[Answer]:
    """Name and parent at each `@`, the document coming in pieces."""
    places = JsonPlaces()
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
        (b'{"a":"@"}', [("a", "")]),
        (b'{"a":{"b":"@"}}', [("b", "a")]),
        (b'{"a":[{"b":"@"},{"c":1,"d":"@"}]}', [("b", "a"), ("d", "a")]),
        (b'{"a":{"b":["@","x","@"]}}', [("b", "a"), ("b", "a")]),
        (b'{"a":{"n":[{},[]]},"b" : \n "@"}', [("b", "")]),
        (b'{"a":[[{"b":"@"}]]}', [("b", "a")]),
        (b'{"\\u0061\\"":{"x":"]}\\\\","b":"@"}}', [("b", 'a"')]),
        (b'{"a":{"@":1,"b":"@"}}', [(None, "a"), ("b", "a")]),
        (b'"@"', [(None, "")]),
        (b'{"a":"x@"}', [(None, "")]),
        (b'{"a":"\\"@"}', [(None, "")]),
        (b'{"a":1}{"b":"@"}', [("b", "")]),
        # a key that is longer than any of FHIR's goes by another name that is none
        (b'{"a":{"%s":"@"}}' % (b"k" * 600), [("-", "a")]),
    ],
)
def test_name_and_parent(document: bytes, expected: list[Answer], size: int) -> None:
    answers = asked(document, size)

    assert [name for name, _ in expected] == [name for name, _ in answers]
    assert all(given == wanted for given, wanted in zip(answers, expected, strict=True) if wanted[0])


@pytest.mark.parametrize("text", [b"[", b'{"a":', b'{"a":[', b"[{"])
def test_too_deep_nesting_is_an_error(text: bytes) -> None:
    places = JsonPlaces()
    document = text * (MOST_UNREAD + 1)

    with pytest.raises(UpstreamProtocolError, match=f"nested more than {MOST_OPEN} levels deep"):
        places.passed(document, len(document))


@given(st.text(st.sampled_from('@"\\{}[]:, a\n'), max_size=40), st.integers(1, 50))
def test_text_that_is_no_json_is_no_error(text: str, size: int) -> None:
    assert len(asked(text.encode(), size)) == text.count("@")


def test_value_at_a_cut_is_told_by_what_went_before(monkeypatch: pytest.MonkeyPatch) -> None:
    # To read all that has come would take a thousand times as long.
    monkeypatch.setattr(JsonPlaces, "_read", None)
    before = b'{"entry":[' + b'{"a":"b"},' * 999 + b'{"link":[{"url":"'
    places = JsonPlaces()
    places.passed(before, len(before))

    assert ("url", "link") == (places.name(b"@", 0), places.parent(b"@", 0))
