"""Header lines, and what follows from their names alone: tools and servers send the same names again and again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any, Final, TypeVar, final

Line = tuple[bytes, bytes]
"""A field's name, in its spelling, and its value."""

SEPARATOR: Final = b": "
"""What stands between the two in a line's text."""

T = TypeVar("T")

MOST_SHAPES: Final = 1000
"""Different ones that are remembered; then all are forgotten, and learned anew."""

MOST_NAMES: Final = 64
"""Names of a shape that is worth to be remembered; more than almost every tool and server sends."""

MOST_NAME_BYTES: Final = 1024
"""Bytes of all of them."""

MOST_LONGER: Final = 8
"""Ways of adding lines that are remembered of a shape: the proxy's own are few."""

_NO_PLACES: Final[tuple[int, ...]] = ()
_name: Final = itemgetter(0)


@final
class Shape:
    """The names of some lines in their order and spelling; whoever decides by names alone does it once for each."""

    __slots__ = ("_found", "_longer", "names", "places", "values_at")

    def __init__(self, names: tuple[bytes, ...]) -> None:
        self.names = tuple(name.lower() for name in names)
        """In lower case."""
        self.values_at = tuple([len(name) + len(SEPARATOR) for name in names])
        """Where in the text of each line its value begins."""
        self.places: dict[bytes, tuple[int, ...]] = {}
        """Where the lines of a name stand, by the name in lower case."""
        self._found: dict[Hashable, Any] = {}
        self._longer: dict[tuple[bytes, ...], Shape] = {}
        for place, name in enumerate(self.names):
            self.places[name] = (*self.places.get(name, _NO_PLACES), place)

    def extended(self, names: tuple[bytes, ...]) -> Shape:
        """The shape of these lines with more at the end."""
        longer = self._longer.get(names)
        if longer is None:
            longer = Shape(self.names + names)
            if len(self._longer) < MOST_LONGER:
                self._longer[names] = longer
        return longer

    def remember(self, what: Hashable, find: Callable[[Shape], T]) -> T:
        """What `find` makes of these names, found once for each `what`; a function of them alone."""
        try:
            found: T = self._found[what]
        except KeyError:
            found = self._found[what] = find(self)
        return found


_shapes: Final[dict[tuple[bytes, ...], Shape]] = {}


def shape_of(names: tuple[bytes, ...]) -> Shape:
    """The shape of lines with these names."""
    shape = _shapes.get(names)
    if shape is None:
        shape = Shape(names)
        if len(names) <= MOST_NAMES and sum(map(len, names)) <= MOST_NAME_BYTES:
            if len(_shapes) >= MOST_SHAPES:
                _shapes.clear()
            _shapes[names] = shape
    return shape


Picker = Callable[[tuple[T, ...]], tuple[T, ...]]


def picker(places: Sequence[int]) -> Picker[Any]:
    """Takes the lines at these places, or their texts, out of others."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda lines: tuple(lines[place] for place in places)


@final
class Fields:
    """Header lines in the order and spelling in which they came (RFC 9110 section 5); never changed.

    Names are given to the methods in lower case.
    """

    __slots__ = ("_added", "_base", "_block", "_is_cut", "_lines", "_shape", "comes_again", "texts")

    def __init__(
        self, lines: tuple[Line, ...] = (), block: bytes | None = None, shape: Shape | None = None
    ) -> None:
        """Take lines with what is known of them: the bytes that they were read from, each with its end; their names."""
        self.texts: tuple[bytes, ...] | None = None
        """The lines as they are written, without their ends, where they were read so."""
        # Found when first asked for. `_base` are the first of the lines, whose block may be
        # known, and `_added` those behind them.
        self._lines: tuple[Line, ...] | None = lines
        self._shape = shape
        self._block = block
        self._is_cut: bool | None = None
        self._base: Fields | None = None
        self._added = lines
        self.comes_again = False
        """Whether whoever reads the same lines again gives this same object for them."""

    @property
    def lines(self) -> tuple[Line, ...]:
        """The lines, each with its name and its value."""
        lines = self._lines
        if lines is None:
            if self._base is not None:
                lines = self._base.lines + self._added
            else:
                begins, texts = self.shape.values_at, self.texts or ()
                lines = tuple(
                    [
                        (text[: begins[place] - len(SEPARATOR)], text[begins[place] :])
                        for place, text in enumerate(texts)
                    ]
                )
            self._lines = lines
        return lines

    @property
    def shape(self) -> Shape:
        """The names of the lines."""
        shape = self._shape
        if shape is None:
            shape = self._shape = shape_of(tuple(map(_name, self.lines)))
        return shape

    @property
    def block(self) -> bytes:
        """The lines as they are written, or were read, each with its end."""
        block = self._block
        if block is None:
            block = self._block = b"".join(self._written())
        return block

    @property
    def parts(self) -> list[bytes]:
        """What the block is joined of, for whoever joins it with more."""
        return self._written() if self._block is None and self._base is not None else [self.block]

    def _written(self) -> list[bytes]:
        if self.texts is not None:
            return [b"\r\n".join(self.texts), b"\r\n"] if self.texts else []
        base = self._base
        parts = [] if base is None else [base.block]
        for name, value in self._added:
            parts.append(name)
            parts.append(b": ")
            parts.append(value)
            parts.append(b"\r\n")
        return parts

    @property
    def is_cut(self) -> bool:
        """Whether a name or value holds what would end its line, or a string: CR, LF or NUL."""
        is_cut = self._is_cut
        if is_cut is None:
            is_cut = self._base is not None and self._base.is_cut
            for name, value in self._added if self.texts is None else self.lines:
                if not _is_clean_name(name) or (not value.isalnum() and _is_cut(value)):
                    is_cut = True
            self._is_cut = is_cut
        return is_cut

    def __iter__(self) -> Iterator[Line]:
        return iter(self.lines)

    def __contains__(self, name: bytes) -> bool:
        return name in self.shape.places

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fields) and self.lines == other.lines

    def __hash__(self) -> int:
        return hash(self.lines)

    def __repr__(self) -> str:
        return f"Fields({self.lines!r})"

    def value(self, place: int) -> bytes:
        """The value of the line at a place."""
        if self.texts is not None:
            return self.texts[place][self.shape.values_at[place] :]
        return self.lines[place][1]

    def get(self, name: bytes) -> bytes | None:
        """The value of the first line of that name."""
        places = self.shape.places.get(name)
        return self.value(places[0]) if places else None

    def get_all(self, name: bytes) -> tuple[bytes, ...]:
        """The values of all lines of that name, in order."""
        return tuple([self.value(place) for place in self.shape.places.get(name, _NO_PLACES)])

    def holds_any(self, names: frozenset[bytes]) -> bool:
        """Whether there is a line with one of the names."""
        return not names.isdisjoint(self.shape.places)

    def text(self, name: bytes) -> str:
        """All lines of that name joined by a comma (RFC 9110 section 5.3); empty where there is none."""
        places = self.shape.places.get(name, _NO_PLACES)
        if len(places) == 1:
            return self.value(places[0]).decode("latin-1")
        return b", ".join([self.value(place) for place in places]).decode("latin-1")

    def without(self, names: Collection[bytes]) -> Fields:
        """These lines less those with one of the names."""
        return Fields(tuple(line for line in self.lines if line[0].lower() not in names))

    def adding(self, *lines: Line) -> Fields:
        """These lines with more at the end."""
        return self.added(lines)

    def added(self, lines: tuple[Line, ...]) -> Fields:
        """The same, of lines that are a tuple already: it costs less."""
        if not lines:
            return self
        # Almost always it is one.
        names = (lines[0][0],) if len(lines) == 1 else tuple(map(_name, lines))
        fields = Fields((), None, self.shape.extended(names))
        fields._base, fields._added, fields._lines = self, lines, None
        return fields

    def replacing(self, place: int, value: bytes) -> Fields:
        """These lines, the one at a place with another value."""
        if self.texts is not None:
            texts = list(self.texts)
            texts[place] = texts[place][: self.shape.values_at[place]] + value
            return Fields.read(tuple(texts), None, self.shape)
        lines = list(self.lines)
        lines[place] = (lines[place][0], value)
        return Fields(tuple(lines), None, self.shape)

    def picked(self, pick: Picker[Any], shape: Shape, more: Fields | None = None) -> Fields:
        """Some of these lines, and more at the end; all together have that shape."""
        if self.texts is None or (more is not None and more.texts is None):
            return Fields(pick(self.lines) if more is None else pick(self.lines) + more.lines, None, shape)
        texts = pick(self.texts)
        return Fields.read(texts if more is None or more.texts is None else texts + more.texts, None, shape)

    @staticmethod
    def read(texts: tuple[bytes, ...], block: bytes | None, shape: Shape) -> Fields:
        """Fields from the texts of lines that have a shape; `block` are all of them, each with its end."""
        fields = Fields((), block, shape)
        fields.texts, fields._lines = texts, None
        return fields

    @staticmethod
    def written(lines: tuple[Line, ...]) -> Fields:
        """Fields of lines whose texts are needed again and again."""
        texts = tuple([name + SEPARATOR + value for name, value in lines])
        return Fields.read(texts, None, shape_of(tuple(map(_name, lines))))

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> Fields:
        """Fields from text, for what the proxy writes itself."""
        return cls(tuple((name.encode("ascii"), value.encode("latin-1")) for name, value in pairs))


_clean_names: Final[set[bytes]] = set()


def _is_clean_name(name: bytes) -> bool:
    if name in _clean_names:
        return True
    if _is_cut(name):
        return False
    if len(_clean_names) < MOST_SHAPES and len(name) <= MOST_NAME_BYTES:
        _clean_names.add(name)
    return True


def _is_cut(part: bytes) -> bool:
    # `find` is far cheaper than `in`, which tries an integer first and makes an error of it.
    return part.find(b"\r") >= 0 or part.find(b"\n") >= 0 or part.find(b"\0") >= 0
