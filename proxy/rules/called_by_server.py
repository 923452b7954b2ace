"""Bodies that give the server an address to call: it must not be this proxy's, which only this machine reaches.

What goes before an address tells, in most bodies. A JSON Patch may name its path after the value, as .NET's
serializer does, so it is looked at once more as a whole, where it is not too long.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from ..errors import RequestRefused
from .places import CALLED_BY_SERVER

MOST_PATCH = 256 * 1024
"""Bytes of a JSON Patch that are looked at as a whole."""

_NAMES = b"|".join(name.encode("ascii") for name in sorted(CALLED_BY_SERVER))
# The path of a FHIRPath Patch (R4, section 3.1.0.8.2), in the part before the value's.
_FHIRPATH = rb"(?:Endpoint\.|Subscription\.(?:channel\.)?)(?P<fhirpath>address|endpoint)"

IN_JSON = re.compile(
    rb'(?:"(?P<name>%s)"|"path"\s*:\s*"[^"]*/(?P<path>%s)"\s*,\s*"value"'
    rb'|"valueString"\s*:\s*"%s"\s*\}\s*,\s*\{[^{}]*"value(?:Ur[il]|String)")\s*:\s*"\Z'
    % (_NAMES, _NAMES, _FHIRPATH)
)
IN_XML = re.compile(
    rb"""<(?:[^\s<>:]+:)?(?:(?P<name>%s)\s[^<>]*?"""
    rb"""|valueString\s+value\s*=\s*["']%s["']\s*/>\s*</(?:[^\s<>:]+:)?part>[^/]*<(?:[^\s<>:]+:)?name\s+value=["']value["']\s*/>"""
    rb"""\s*<(?:[^\s<>:]+:)?value(?:Ur[il]|String)\s[^<>]*?)value\s*=\s*["']\Z(?P<path>)"""
    % (_NAMES, _FHIRPATH)
)


def refuse_what_is_called(pattern: re.Pattern[bytes], before: bytes) -> None:
    """Raise RequestRefused if an own address, after these bytes, is one that the server would call."""
    called = pattern.search(before) if before[-1:] in {b'"', b"'"} else None
    if called is not None:
        raise _refusal((called["name"] or called["path"] or called["fhirpath"]).decode("ascii"))


class PatchReading:
    """Passes a JSON Patch (RFC 6902) as it is; `flush` refuses an operation by which the server would call us."""

    __slots__ = ("_is_own", "_kept", "_size")

    def __init__(self, is_own: Callable[[bytes], bool]) -> None:
        self._is_own = is_own
        self._kept: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> bytes:
        """The chunk."""
        self._size += len(chunk)
        if self._size <= MOST_PATCH:
            self._kept.append(chunk)
        else:
            self._kept.clear()
        return chunk

    def flush(self) -> bytes:
        """Nothing, or RequestRefused."""
        for operation in _operations(b"".join(self._kept)):
            path, value = operation.get("path"), operation.get("value")
            name = path.rpartition("/")[2] if isinstance(path, str) else ""
            if name in CALLED_BY_SERVER and isinstance(value, str) and self._is_own(value.encode()):
                raise _refusal(name)
        return b""

    def whole(self, body: bytes) -> bytes:
        """The body, or RequestRefused."""
        return self.feed(body) + self.flush()


def _operations(patch: bytes) -> list[dict[str, object]]:
    try:
        operations = json.loads(patch)
    except (ValueError, RecursionError):
        return []  # for the server to refuse
    return [one for one in operations if isinstance(one, dict)] if isinstance(operations, list) else []


def _refusal(name: str) -> RequestRefused:
    # The address is not quoted: it may hold the key.
    return RequestRefused(
        f"the body sets {CALLED_BY_SERVER[name]} to this proxy's own address",
        hint="The server would call its own localhost. Give it an address that it can reach.",
    )
