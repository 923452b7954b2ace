"""`WWW-Authenticate` -> Challenge, by the list grammar of RFC 9110 section 11.6.1.

The field is text from outside, so that the reader is bounded and total: what it cannot read it leaves out.
It takes more than the grammar has, because servers send it: unquoted URLs and JSON as values (older Microsoft
services), parameters without a comma between them, text in UTF-8.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Sequence

from ..model import Challenge, Fields

MAX_BYTES = 64 * 1024
"""Of all `WWW-Authenticate` lines together; twice what servers accept as a whole header section (32 KiB)."""
MAX_CHALLENGES = 32
MAX_PARAMETERS = 64
"""Of one challenge."""
MAX_JSON = 8 * 1024
"""Characters of an unquoted JSON object, as `claims` was in early challenges of conditional access."""
CLAIMS_ERRORS = frozenset({"insufficient_claims", "invalid_token"})
MAX_QUOTED = 300
"""Characters of the server's own words that are passed on to a person."""

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105  RFC 9110 section 5.6.2
# RFC 9110 section 5.6.4, less the control characters that a terminal would obey (C0, DEL, C1); named by what is left
# out, since a class with all of Unicode takes 3 ms to compile
_CLEAN = r"[^\x00-\x08\x0a-\x1f\x7f-\x9f]"
_QUOTED = rf'"((?:(?!["\\]){_CLEAN}|\\{_CLEAN})*+)"'

_BETWEEN = re.compile(r"[ \t,]*")
_NAME = re.compile(rf"({_TOKEN})[ \t]*=[ \t]*")
_QUOTED_VALUE = re.compile(_QUOTED)
_BARE_VALUE = re.compile(rf'(?:(?![ \t,"]){_CLEAN})+')
_SCHEME = re.compile(rf"({_TOKEN})(?=[ \t,]|\Z)")
_TOKEN68 = re.compile(r"[ \t]+[A-Za-z0-9\-._~+/]+=*(?=[ \t]*(?:,|\Z))")
_UNREADABLE = re.compile(r'(?:[^",]|"(?:[^"\\]|\\.)*+")*+', re.DOTALL)
_STANDARD_ALPHABET = str.maketrans("-_", "+/")  # RFC 4648 sections 4 and 5
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def parse_challenges(fields: Fields) -> tuple[Challenge, ...]:
    """All challenges of the `WWW-Authenticate` lines, in order; scheme and parameter names in lower case.

    A parameter that comes twice keeps its first value (RFC 9110 section 11.2 forbids the second). token68
    data is read past: no scheme that the proxy answers carries any.
    """
    found: list[Challenge] = []
    budget = MAX_BYTES
    for line in fields.get_all(b"www-authenticate"):
        budget -= len(line)
        if budget < 0:
            break
        found.extend(_line(_text(line)))
    return tuple(found[:MAX_CHALLENGES])


def bearer(challenges: Sequence[Challenge]) -> Challenge | None:
    """The first Bearer challenge (RFC 6750 section 3)."""
    return next((challenge for challenge in challenges if challenge.scheme == "bearer"), None)


def bearer_parameter(challenges: Sequence[Challenge], names: Sequence[str]) -> str:
    """The first Bearer challenge's value under one of the names."""
    return next(
        (
            value
            for challenge in challenges
            if challenge.scheme == "bearer"
            for name in names
            if (value := challenge.parameters.get(name))
        ),
        "",
    )


def stated_error(challenges: Sequence[Challenge]) -> str:
    """What the server says is wrong with the token (RFC 6750 section 3), in one bounded line; or nothing."""
    challenge = bearer(challenges)
    if challenge is None:
        return ""
    parts = (challenge.parameters.get(name, "") for name in ("error", "error_description"))
    return one_line(": ".join(part for part in parts if part))


def wanted_claims(challenges: Sequence[Challenge]) -> str:
    """The `claims` that a server wants a token to have, as a JSON object; empty where it wants none.

    Microsoft, "Claims challenges": base64 of JSON beside `insufficient_claims`; after a revoked session beside
    `invalid_token`. Found in the wild are both alphabets, missing padding and, from older services, plain JSON.
    """
    for challenge in challenges:
        text = challenge.parameters.get("claims", "")
        if challenge.scheme != "bearer" or challenge.parameters.get("error") not in CLAIMS_ERRORS:
            continue
        if 0 < len(text) <= MAX_JSON and (claims := _json_object(text) or _json_object(_unpacked(text))):
            return claims
    return ""


def one_line(text: str) -> str:
    """What comes from outside as it is quoted to a person: in one line, bounded, nothing that steers a terminal."""
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return text if len(text) <= MAX_QUOTED else text[: MAX_QUOTED - 1] + "…"


def _json_object(text: str) -> str:
    """The text in a form of its own if it is a JSON object with something in it, otherwise nothing."""
    try:
        value = json.loads(text)
        return (
            json.dumps(value, separators=(",", ":"), allow_nan=False)
            if isinstance(value, dict) and value
            else ""
        )
    except (ValueError, RecursionError):
        return ""


def _unpacked(text: str) -> str:
    try:
        bare = text.strip().rstrip("=").translate(_STANDARD_ALPHABET)
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True).decode("utf-8")
    except ValueError:
        return ""


def _text(line: bytes) -> str:
    # RFC 9110 section 5.5 leaves octets above 0x7F open; servers that send them mean UTF-8.
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _line(text: str) -> Iterator[Challenge]:
    """The challenges of one line: a new scheme can stand only at its start or after a comma."""
    scheme = ""
    parameters: dict[str, str] = {}
    count = 0
    position = 0
    while True:
        between = _BETWEEN.match(text, position)
        assert between is not None  # noqa: S101  it matches the empty string too
        comma = position == 0 or "," in between[0]
        position = between.end()
        if position == len(text):
            break
        if parameter := _parameter(text, position):
            name, value, position = parameter
            if len(parameters) < MAX_PARAMETERS:
                parameters.setdefault(name, value)
        elif comma and (match := _SCHEME.match(text, position)):
            if scheme:
                yield Challenge(scheme, parameters)
                count += 1
                if count == MAX_CHALLENGES:
                    return
            scheme, parameters = match[1].lower(), {}
            token68 = _TOKEN68.match(text, match.end())
            position = (token68 or match).end()
        else:
            unreadable = _UNREADABLE.match(text, position)
            assert unreadable is not None  # noqa: S101  it matches the empty string too
            position = unreadable.end()
            if not text.startswith(",", position):
                break  # the end, or a quote that never closes: where the next element starts cannot be known
    if scheme:
        yield Challenge(scheme, parameters)


def _parameter(text: str, position: int) -> tuple[str, str, int] | None:
    """Name, value and end of the parameter that starts here, if one does."""
    name = _NAME.match(text, position)
    if name is None:
        return None
    start = name.end()
    if quoted := _QUOTED_VALUE.match(text, start):
        return name[1].lower(), _ESCAPED.sub(r"\1", quoted[1]), quoted.end()
    if text.startswith("{", start) and (end := _json_end(text, start)):
        return name[1].lower(), text[start:end], end
    if bare := _BARE_VALUE.match(text, start):
        return name[1].lower(), bare[0], bare.end()
    return None


def _json_end(text: str, start: int) -> int:
    """Where the JSON object that starts here ends; 0 where none does."""
    window = text[start : start + MAX_JSON]
    try:
        _, length = json.JSONDecoder().raw_decode(window)
    except (ValueError, RecursionError):
        return 0
    return start + length
