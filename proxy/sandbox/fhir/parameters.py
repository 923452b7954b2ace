"""The search parameters that the server knows, and how a value matches what a resource holds."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import MappingProxyType

from . import dates
from .json_text import at, text_at
from .outcome import FhirError
from .spellings import Links


@dataclass(frozen=True, slots=True)
class Parameter:
    """One search parameter: its name, its FHIR type and where its values are."""

    name: str
    kind: str
    paths: tuple[str, ...]

    def found(self, resource: object) -> Iterator[object]:
        """Yield the values that the resource has."""
        for path in self.paths:
            yield from at(resource, path)


COMMON = (
    Parameter("_id", "token", ("id",)),
    Parameter("_lastUpdated", "date", ("meta.lastUpdated",)),
    Parameter("_profile", "uri", ("meta.profile",)),
    Parameter("_tag", "token", ("meta.tag",)),
    Parameter("identifier", "token", ("identifier",)),
)
_CLINICAL = (
    Parameter("subject", "reference", ("subject",)),
    Parameter("patient", "reference", ("subject", "patient")),
    Parameter("status", "token", ("status",)),
)

# One row per search parameter; the CapabilityStatement lists them from here.
BY_TYPE: MappingProxyType[str, tuple[Parameter, ...]] = MappingProxyType(
    {
        "Patient": (
            Parameter("name", "string", ("name.family", "name.given", "name.text")),
            Parameter("family", "string", ("name.family",)),
            Parameter("given", "string", ("name.given",)),
            Parameter("birthdate", "date", ("birthDate",)),
            Parameter("gender", "token", ("gender",)),
            Parameter("active", "token", ("active",)),
        ),
        "Encounter": (
            *_CLINICAL,
            Parameter("class", "token", ("class",)),
            Parameter("date", "date", ("period",)),
        ),
        "Observation": (
            *_CLINICAL,
            Parameter("code", "token", ("code.coding",)),
            Parameter("category", "token", ("category.coding",)),
            Parameter("date", "date", ("effectiveDateTime", "effectivePeriod")),
            Parameter("encounter", "reference", ("encounter",)),
        ),
        "DocumentReference": (
            *_CLINICAL,
            Parameter("type", "token", ("type.coding",)),
            Parameter("date", "date", ("date",)),
        ),
    }
)
_OTHER = (*_CLINICAL, Parameter("code", "token", ("code.coding",)))


def known(type_: str) -> dict[str, Parameter]:
    """Return the parameters of a type by name; those of every type for the system ("")."""
    own = BY_TYPE.get(type_, _OTHER) if type_ else ()
    return {parameter.name: parameter for parameter in (*COMMON, *own)}


@dataclass(frozen=True, slots=True)
class Criterion:
    """One `name:modifier=a,b` of a search: any of its values may match, FHIR R4 section 3.1.1.3."""

    parameter: Parameter
    modifier: str
    values: tuple[str, ...]

    def matches(self, resource: object, links: Links) -> bool:
        """Whether the resource is wanted."""
        found = list(self.parameter.found(resource))
        if self.modifier == "missing":
            return (not found) == (self.values == ("true",))
        match = MATCHERS[self.parameter.kind]
        hit = any(match(item, value, self.modifier, links) for item in found for value in self.values)
        return hit != (self.modifier == "not")


def criterion(parameter: Parameter, modifier: str, text: str) -> Criterion:
    """Return the criterion, or raise FhirError 400 for a modifier or a date that makes no sense."""
    if modifier not in {"", "missing"} and modifier not in MODIFIERS[parameter.kind]:
        if parameter.kind != "reference" or not modifier.isalpha():
            raise FhirError(
                400, "invalid", f"The modifier '{modifier}' is not supported for {parameter.name}."
            )
        text = ",".join(f"{modifier}/{value}" for value in text.split(","))
    values = split_values(text)
    if parameter.kind == "date" and modifier == "":
        for value in values:
            try:
                dates.parse(value)
            except ValueError as error:
                raise FhirError(400, "invalid", f"{parameter.name}: {error}.") from error
    return Criterion(parameter, modifier, values)


def split_values(text: str) -> tuple[str, ...]:
    r"""Return the alternatives of a value; `\,` is a comma of the value itself (FHIR R4, 3.1.1.4.14)."""
    parts = re.findall(r"(?:[^\\,]|\\.|\\$)+", text, re.DOTALL)
    return tuple(re.sub(r"\\([,$\\])", r"\1", part) for part in parts)


def join_values(values: tuple[str, ...]) -> str:
    """Return the text that `split_values` takes apart."""
    return ",".join(re.sub(r"([,$\\])", r"\\\1", value) for value in values)


def _folded(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter)).casefold()


def match_string(found: object, wanted: str, modifier: str, _links: Links) -> bool:
    """Compare the beginning, without case and accents, unless the modifier says otherwise."""
    if not isinstance(found, str):
        return False
    if modifier == "exact":
        return found == wanted
    if modifier == "contains":
        return _folded(wanted) in _folded(found)
    return _folded(found).startswith(_folded(wanted))


def match_token(found: object, wanted: str, _modifier: str, _links: Links) -> bool:
    r"""Compare `code`, `system|code`, `|code` or `system|` with a code, a Coding or an Identifier."""
    if isinstance(found, bool):
        return wanted == ("true" if found else "false")
    if isinstance(found, str):
        return wanted.rpartition("|")[2] == found
    system, bar, code = wanted.rpartition("|")
    code_matches = (not code and bool(bar)) or code in {
        text_at(found, "code", "\0"),
        text_at(found, "value", "\0"),
    }
    return code_matches and (not bar or system == text_at(found, "system"))


def match_date(found: object, wanted: str, _modifier: str, _links: Links) -> bool:
    """Compare intervals; a Period without an end is still going on."""
    try:
        if isinstance(found, str):
            have = dates.interval(found)
        else:
            start, end = text_at(found, "start"), text_at(found, "end")
            low = dates.interval(start).low if start else dates.FIRST
            have = dates.Interval(low, dates.interval(end).high if end else dates.LAST)
    except ValueError:
        return False  # stored as it came: a date that is none matches nothing
    prefix, interval = dates.parse(wanted)
    return dates.PREFIXES[prefix](have, interval)


def match_reference(found: object, wanted: str, _modifier: str, links: Links) -> bool:
    """Compare references: an absolute one is ours only if it begins with the base of this request."""
    reference = links.relative(text_at(found, "reference", "\0"))
    wanted = links.relative(wanted)
    return reference == wanted or (
        "/" not in wanted and reference.partition("/")[2] == wanted and ":" not in reference
    )


def match_uri(found: object, wanted: str, _modifier: str, _links: Links) -> bool:
    """Compare exactly."""
    return found == wanted


Matcher = Callable[[object, str, str, Links], bool]
MATCHERS: MappingProxyType[str, Matcher] = MappingProxyType(
    {
        "string": match_string,
        "token": match_token,
        "date": match_date,
        "reference": match_reference,
        "uri": match_uri,
    }
)
MODIFIERS: MappingProxyType[str, frozenset[str]] = MappingProxyType(
    {
        "string": frozenset({"exact", "contains"}),
        "token": frozenset({"not"}),
        "date": frozenset(),
        "reference": frozenset(),
        "uri": frozenset(),
    }
)
