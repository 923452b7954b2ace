from __future__ import annotations

import itertools
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from proxy.fields import MOST_NAMES, MOST_SHAPES, Fields, Line, Shape, picker, shape_of

NAMES = st.sampled_from([b"A", b"a", b"Host", b"X-Y", b"x-y", b"", b"A\r", b"A\nB"])
LINES = st.lists(
    st.tuples(NAMES, st.binary(max_size=4) | st.sampled_from([b"\r", b"\n", b"\0", b"x" * 300])), max_size=5
)


def read(lines: Iterable[Line]) -> Fields:
    """The same lines, from their texts."""
    lines = tuple(lines)
    shape = shape_of(tuple(name for name, _ in lines))
    return Fields.read(tuple(b"%b: %b" % line for line in lines), None, shape)


def built(lines: list[Line], cuts: list[int]) -> Fields:
    """The same lines, added in portions."""
    points = sorted({min(cut, len(lines)) for cut in cuts} | {0, len(lines)})
    fields = Fields()
    for start, end in itertools.pairwise(points):
        fields = fields.adding(*lines[start:end])
    return fields


@given(LINES, st.lists(st.integers(0, 5), max_size=3))
def test_lines_that_are_added_say_what_lines_say_that_come_together(
    lines: list[Line], cuts: list[int]
) -> None:
    fields, added = Fields(tuple(lines)), built(lines, cuts)
    written = b"".join(b"%b: %b\r\n" % line for line in lines)

    assert fields == added
    assert fields.lines == added.lines == tuple(lines)
    assert fields.shape.names == added.shape.names == tuple(name.lower() for name, _ in lines)
    assert fields.shape.places == added.shape.places
    assert written == b"".join(added.parts) == added.block == fields.block == b"".join(fields.parts)


@given(LINES, LINES, st.data())
def test_lines_that_were_read_as_text_say_the_same(
    lines: list[Line], more: list[Line], data: st.DataObject
) -> None:
    fields, texts = Fields(tuple(lines)), read(lines)
    places = [place for place in range(len(lines)) if data.draw(st.booleans())]
    picked = shape_of(tuple(lines[place][0] for place in places) + tuple(name for name, _ in more))

    for name in fields.shape.names:
        assert fields.get(name) == texts.get(name)
        assert fields.get_all(name) == texts.get_all(name)
        assert fields.text(name) == texts.text(name)
    assert [line[1] for line in lines] == [texts.value(place) for place in range(len(lines))]
    for one, other in (
        (fields, texts),
        (fields.adding(*more), texts.adding(*more)),
        (fields.without({b"a"}), texts.without({b"a"})),
        *[
            (
                fields.picked(picker(places), picked, ours(tuple(more))),
                texts.picked(picker(places), picked, ours(tuple(more))),
            )
            for ours in (read, Fields.written, Fields)
        ],
    ):
        assert one == other
        assert one.lines == other.lines
        assert one.block == other.block == b"".join(other.parts)
        assert one.is_cut is other.is_cut
        assert one.shape.places == other.shape.places


@given(LINES, st.lists(st.integers(0, 5), max_size=3))
def test_cut_lines_are_seen_wherever_they_were_added(lines: list[Line], cuts: list[int]) -> None:
    expected = any(octet in part for line in lines for part in line for octet in (b"\r", b"\n", b"\0"))

    assert expected is Fields(tuple(lines)).is_cut
    assert expected is built(lines, cuts).is_cut


@given(LINES, st.data())
def test_picked_are_the_lines_at_their_places(lines: list[Line], data: st.DataObject) -> None:
    places = [place for place in range(len(lines)) if data.draw(st.booleans())]

    assert tuple(lines[place] for place in places) == picker(places)(tuple(lines))


def test_what_follows_from_names_is_found_once() -> None:
    found: list[Shape] = []

    def find(shape: Shape) -> int:
        found.append(shape)
        return len(shape.names)

    for value in (b"1", b"2"):
        assert Fields(((b"A", value), (b"B", value))).shape.remember("count", find) == 2
    assert Fields(((b"A", b"1"),)).shape.remember("count", find) == 1

    assert 2 == len(found)


def test_what_is_found_may_be_nothing() -> None:
    calls: list[Shape] = []
    shape = Fields(((b"N", b"1"),)).shape

    for _ in range(2):
        assert shape.remember("nothing", calls.append) is None

    assert 1 == len(calls)


def test_memory_of_names_has_a_bound() -> None:
    first = Fields(((b"First", b""),)).shape
    assert Fields(((b"First", b"other"),)).shape is first

    for number in range(MOST_SHAPES):
        assert Fields(((b"X-%d" % number, b""),)).shape.places

    again = Fields(((b"First", b""),)).shape
    assert first is not again
    assert first.names == again.names


def test_unusual_names_are_not_remembered() -> None:
    many = tuple((b"X-%d" % number, b"") for number in range(MOST_NAMES + 1))
    long = ((b"x" * 2000, b""),)

    for lines in (many, long):
        assert Fields(lines).shape is not Fields(lines).shape


def test_ways_of_adding_that_are_remembered_have_a_bound() -> None:
    base = Fields(((b"A", b"1"),))

    for number in range(100):
        added = base.adding((b"X-%d" % number, b"2"))
        assert added.get(b"x-%d" % number) == b"2"
