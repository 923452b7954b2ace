"""The targets of almost every request: a type below the server's base or one resource of it, with a query or without.

One pattern tells at once what the guards, the map of addresses and the interactions say of them otherwise: nothing in
them is refused, their path goes up as it is, and which interaction it is depends on the method and the type alone.
tests/rules/test_shortcuts.py compares.
"""

from __future__ import annotations

import re
from typing import Final

from ..model import Classified
from .guards import LONGEST_TARGET, METHODS, oddity
from .interactions import classify

_TYPE: Final = rb"/([A-Z][A-Za-z]{1,63}+)"
_ID: Final = rb"(/[A-Za-z0-9-][A-Za-z0-9.-]{0,63}+)?+"  # one that begins with a dot may be a dot segment
_NOTHING: Final = rb"(?!)"
_QUERY: Final = rb"(\?[!\"$-~]*+)?+"

_ID_GROUP: Final = 2
_QUERY_GROUP: Final = 3

_MOST_TYPES: Final = 200
"""More than there are: what tools make up is not remembered."""


class UsualTarget:
    """What is known of one."""

    __slots__ = ("classified", "has_query")

    def __init__(self, classified: Classified, has_query: bool) -> None:
        self.classified = classified
        self.has_query = has_query


class UsualTargets:
    """Those below the path of one server's base."""

    __slots__ = ("_known", "_match")

    def __init__(self, base_path: bytes) -> None:
        # What the guards refuse they refuse in the path of the base as well.
        before = _NOTHING if oddity(base_path) else re.escape(base_path)
        self._match = re.compile(before + _TYPE + _ID + _QUERY).fullmatch
        # By the method, then by whether there is an id and a query, then by the type.
        self._known: dict[str, list[dict[bytes, UsualTarget]]] = {
            method: [{}, {}, {}, {}] for method in METHODS
        }

    def find(self, method: str, target: bytes) -> UsualTarget | None:
        """What is known of a target; None where it is another one, or the method none of FHIR's."""
        kinds = self._known.get(method)
        match = self._match(target) if len(target) <= LONGEST_TARGET else None
        if kinds is None or match is None:
            return None
        last = match.lastindex
        has_query = last == _QUERY_GROUP
        has_id = last == _ID_GROUP or (has_query and match[_ID_GROUP] is not None)
        known = kinds[(2 if has_query else 0) + (1 if has_id else 0)]
        resource_type: bytes = match[1]
        usual = known.get(resource_type)
        if usual is None:
            usual = UsualTarget(classify(method, resource_type + (b"/0" if has_id else b"")), has_query)
            if len(known) < _MOST_TYPES:
                known[resource_type] = usual
        return usual
