"""Models: the settings that belong together, read at once, and never changed.

Their methods are called as those of pydantic, which took a sixth of a start's time and 12 MB for the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import FrozenInstanceError, dataclass, replace
from typing import ClassVar, Generic, Self, TypeVar, cast, dataclass_transform

from .kinds import Kind, Problem, WrongValues

T = TypeVar("T")


class _Missing:
    """There is no default: the setting has to be given."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()


@dataclass(frozen=True, slots=True)
class Field(Generic[T]):
    """One field as a model declares it."""

    kind: Kind[T]
    description: str
    default: object
    """As a person would write it."""
    mark: object
    alias: str
    prints: bool


def field(
    kind: Kind[T],
    mark: object = None,
    default: object = MISSING,
    description: str = "",
    *,
    alias: str = "",
    repr: bool = True,  # noqa: A002  as dataclasses call it
) -> T:
    """A field of such values; `mark` is whatever else is to be known of it."""
    # The model puts the value in its place, as dataclasses.field does.
    return cast(T, Field(kind, description, default, mark, alias, repr))


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
class Model:
    """Values by key, each of its field's kind."""

    fields: ClassVar[Mapping[str, Field[object]]]
    _defaults: ClassVar[Mapping[str, object]]

    def __init_subclass__(cls) -> None:
        declared = {key: value for key, value in vars(cls).items() if isinstance(value, Field)}
        for key in declared:
            delattr(cls, key)
        cls.fields = declared
        cls._defaults = {
            key: found.default if found.default is None else found.kind.read(found.default)
            for key, found in declared.items()
            if found.default is not MISSING
        }

    def __init__(self, **values: object) -> None:
        """WrongValues tells everything that is wrong."""
        read: dict[str, object] = dict(self._defaults)
        problems: list[Problem] = []
        given: set[str] = set()
        for key, found in self.fields.items():
            name = found.alias or key
            if name in values:
                given.add(key)
                value = values.pop(name)
                try:
                    read[key] = found.kind.read(value)
                except WrongValues as wrong:
                    problems += [replace(one, place=(name, *one.place)) for one in wrong.problems]
                except ValueError as wrong:
                    problems.append(Problem((name,), value, str(wrong)))
            elif key not in read:
                problems.append(Problem((name,), None, "is not given"))
        problems += [Problem((name,), value, "is not a setting") for name, value in values.items()]
        if problems:
            raise WrongValues(tuple(problems))
        vars(self).update(read, model_fields_set=given)

    model_fields_set: set[str]
    """The keys that were given."""

    @classmethod
    def model_validate(cls, values: Mapping[str, object]) -> Self:
        """The model of such values; WrongValues tells everything that is wrong."""
        return cls(**values)

    @classmethod
    def read(cls, value: object) -> Self:
        """The same of whatever stands in a file."""
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise ValueError("is not a table")  # noqa: TRY004  one class of errors for whatever is wrong
        return cls.model_validate(value)

    def model_copy(self, *, update: Mapping[str, object]) -> Self:
        """Another one with these values, which are right already."""
        made = object.__new__(type(self))
        vars(made).update(vars(self), **update, model_fields_set=self.model_fields_set | update.keys())
        return made

    def model_dump(self, *, exclude: Collection[str] = ()) -> dict[str, object]:
        """The values by key as TOML or JSON has them; secrets are masked."""
        return {
            key: found.kind.plain(getattr(self, key))
            for key, found in self.fields.items()
            if key not in exclude
        }

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"{type(self).__name__} is frozen: {name} cannot change")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"{type(self).__name__} is frozen: {name} cannot go")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._values() == cast(Self, other)._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        shown = (f"{key}={getattr(self, key)!r}" for key, found in self.fields.items() if found.prints)
        return f"{type(self).__name__}({', '.join(shown)})"

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, key) for key in self.fields)
