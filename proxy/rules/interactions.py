"""Method + path -> FHIR interaction (FHIR R4 and R5 section 3.1.0, with the paths of Microsoft's server).

Neither ids nor the query are part of the result, so that it may be logged, and every word of it is one that
its pattern below allows: a request cannot write into a log.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from ..model import Classified, Interaction

_READING: Final = frozenset({"GET", "HEAD"})
_POST: Final = frozenset({"POST"})
_DELETE: Final = frozenset({"DELETE"})
_ANY: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})

_PLACEHOLDERS: Final = {
    "TYPE": "(?P<type>[A-Z][A-Za-z]{1,63})",
    "COMPARTMENT": "[A-Z][A-Za-z]{1,63}",
    "ID": r"[A-Za-z0-9\-.]{1,64}",
    # Microsoft's routes do not look at the case of an operation, so neither may a policy.
    "OPERATION": r"(?P<operation>\$[A-Za-z][A-Za-z0-9-]{0,63})",
}

# The first row that fits wins.
_TABLE: Final = (
    (_READING, r"metadata|\.well-known/smart-configuration|\$versions", Interaction.CAPABILITIES),
    (_READING, "TYPE/ID", Interaction.READ),
    (_READING, "TYPE/ID/_history/ID", Interaction.VREAD),
    (_READING, "TYPE/ID/_history", Interaction.HISTORY_INSTANCE),
    (_READING, "TYPE/_history", Interaction.HISTORY_TYPE),
    (_READING, "_history", Interaction.HISTORY_SYSTEM),
    (_READING, "TYPE", Interaction.SEARCH_TYPE),
    (_READING, "", Interaction.SEARCH_SYSTEM),
    (_READING, "COMPARTMENT/ID/TYPE", Interaction.SEARCH_COMPARTMENT),
    (_READING, r"TYPE/ID/\*", Interaction.SEARCH_COMPARTMENT),
    (_POST, "TYPE/_search", Interaction.SEARCH_TYPE),
    (_POST, r"(?P<type>SearchParameter)/\$status/_search", Interaction.SEARCH_TYPE),
    (_POST, "_search", Interaction.SEARCH_SYSTEM),
    (_POST, "COMPARTMENT/ID/TYPE/_search", Interaction.SEARCH_COMPARTMENT),
    (_POST, "TYPE", Interaction.CREATE),
    (frozenset({"PUT"}), "TYPE(?:/ID)?", Interaction.UPDATE),
    (frozenset({"PATCH"}), "TYPE(?:/ID)?", Interaction.PATCH),
    (_DELETE, "(?:TYPE(?:/ID(?:/_history(?:/ID)?)?)?)?", Interaction.DELETE),
    (_POST, "", Interaction.BATCH),
    (_ANY, "(?:TYPE/(?:ID/(?:_history/ID/)?)?)?OPERATION", Interaction.OPERATION),
    (_READING | _DELETE, "_operations/[A-Za-z-]{1,64}/ID", Interaction.JOB),
    (_READING, "_files/.+", Interaction.FILE),
)


_OTHER: Final = Classified(Interaction.OTHER)


class _Row:
    """What a row of the table says, and where in its pattern the words of a request are; 0 stands for nowhere."""

    __slots__ = ("_interaction", "_known", "_operation", "_type")

    _MOST_KNOWN = 200
    """More than there are types."""

    def __init__(self, interaction: Interaction, resource_type: int, operation: int) -> None:
        self._interaction = interaction
        self._type = resource_type
        self._operation = operation
        self._known: dict[tuple[str, str], Classified] = {}

    def classified(self, match: re.Match[str]) -> Classified:
        resource_type = (match[self._type] or "") if self._type else ""
        operation = (match[self._operation] or "") if self._operation else ""
        known = self._known.get((resource_type, operation))
        if known is None:
            known = Classified(self._interaction, resource_type, operation.lower())
            if len(self._known) < self._MOST_KNOWN:
                self._known[resource_type, operation] = known
        return known


class _Rows:
    """The rows of one method as one pattern, an alternative each; the group that ends last tells which it was."""

    __slots__ = ("_match", "_rows")

    def __init__(self, method: str) -> None:
        alternatives: list[str] = []
        self._rows: dict[int | None, _Row] = {}
        groups = 0
        for methods, pattern, interaction in _TABLE:
            if method not in methods:
                continue
            alternative = re.sub("[A-Z]{2,}", lambda word: _PLACEHOLDERS[word[0]], pattern)
            compiled = re.compile(alternative)
            places = (compiled.groupindex.get(name, 0) for name in ("type", "operation"))
            row = _Row(interaction, *(place and place + groups for place in places))
            groups += compiled.groups + 1
            self._rows[groups] = row
            alternatives.append(f"(?:{re.sub('[?]P<[a-z]+>', '', alternative)})()")
        self._match = re.compile("|".join(alternatives)).fullmatch

    def classified(self, text: str) -> Classified:
        match = self._match(text)
        return _OTHER if match is None else self._rows[match.lastindex].classified(match)


_ROWS: Final = {method: _Rows(method) for method in _ANY}


def classify(method: str, path: bytes) -> Classified:
    """What a request asks for.

    `path` is relative to the base URL and without the query; slashes at its ends do not matter.
    """
    rows = _ROWS.get(method)
    if rows is None:
        return _OTHER
    text = (unquote_to_bytes(path) if path.find(b"%") >= 0 else path).decode("latin-1")
    return rows.classified(text.removeprefix("/").removesuffix("/"))


def is_smart_configuration(path: bytes) -> bool:
    """Whether a path, relative to the base URL or the origin and without query, is that of SMART discovery.

    SMART App Launch 2.0 puts it below the base URL; some bulk clients ask at the origin.
    """
    plain = unquote_to_bytes(path) if path.find(b"%") >= 0 else path
    return plain.strip(b"/").lower() == b".well-known/smart-configuration"


_READS: Final = frozenset(
    {
        Interaction.CAPABILITIES,
        Interaction.READ,
        Interaction.VREAD,
        Interaction.HISTORY_INSTANCE,
        Interaction.HISTORY_TYPE,
        Interaction.HISTORY_SYSTEM,
        Interaction.SEARCH_TYPE,
        Interaction.SEARCH_SYSTEM,
        Interaction.SEARCH_COMPARTMENT,
        Interaction.FILE,
    }
)

# Operations whose definition says `affectsState = false`, asked by GET or POST. Missing on purpose: $graphql
# (a mutation writes), $document (persists when asked to), $closure (keeps a state), $export (starts a job),
# $reindex (Microsoft's server takes GET as POST).
_READ_OPERATIONS: Final = frozenset(
    {
        "$care-gaps",
        "$collect-data",
        "$convert-data",
        "$cql",
        "$diff",
        "$docref",
        "$evaluate",
        "$evaluate-measure",
        "$everything",
        "$expand",
        "$find-matches",
        "$graph",
        "$includes",
        "$ips",
        "$lastn",
        "$lookup",
        "$match",
        "$member-match",
        "$populate",
        "$questionnaire",
        "$snapshot",
        "$stats",
        "$subsumes",
        "$summary",
        "$transform",
        "$translate",
        "$validate",
        "$validate-code",
        "$versions",
        "$viewdefinition-run",
    }
)
_READ_OPERATIONS_BY_GET: Final = _READ_OPERATIONS | {"$meta", "$status"}


def is_read(classified: Classified, method: str) -> bool:
    """Whether a request changes nothing on the server, as far as method and path tell.

    False for a batch, whose entries decide, and for all that is not known to be a read. A
    `Prefer: respond-async` makes a job of any read, and is for the caller to see.
    """
    match classified.interaction:
        case Interaction.OPERATION if method in _READING:
            return classified.operation in _READ_OPERATIONS_BY_GET
        case Interaction.OPERATION:
            return method == "POST" and classified.operation in _READ_OPERATIONS
        case Interaction.JOB:
            return method in _READING
        case interaction:
            return interaction in _READS
