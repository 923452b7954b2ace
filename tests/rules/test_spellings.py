from __future__ import annotations

import pytest

from proxy.model import BaseUrl
from proxy.rules.spellings import AddressPattern, can_begin

PATTERN = AddressPattern(
    [BaseUrl.parse("https://fhir.example.org/r4"), BaseUrl.parse("http://[2001:db8::7]:8080")]
)


def found(text: bytes) -> list[bytes]:
    return [match[0] for match in PATTERN.matches(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", []),
        (b"fhir.example.org https://fhir.example.org/r5 2001:db8::7", []),
        (b"https://fhir.example.org/r4", [b"https://fhir.example.org/r4"]),
        (b"a http://[2001:DB8::7]:8080, https://FHIR.example.org:443/r4/", [b"http://[2001:DB8::7]:8080", b"https://FHIR.example.org:443/r4"]),
        (b"http%3A%2F%2F%5b2001%3adb8%3A%3A7%5D%3a8080%2F", [b"http%3A%2F%2F%5b2001%3adb8%3A%3A7%5D%3a8080"]),
        (b"https://https://fhir.example.org/r4", [b"https://fhir.example.org/r4"]),
        (b"https://fhir.example.org/https://fhir.example.org/r4", [b"https://fhir.example.org/r4"]),
    ],
)  # fmt: skip
def test_matches(text: bytes, expected: list[bytes]) -> None:
    assert expected == found(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", 0),
        (b"abc", 3),
        (b"abch", 3),
        (b"httphttp", 4),
        (b'"https://fhir.example.org/r', 1),
        (b'"https://fhir.example.org/r4', 1),
        (b'"https://fhir.example.org/r4/', 29),
        (b'"https://fhir.example.org/r4\\', 1),
        (b'"https://fhir.example.org/r4\\u00', 1),
        (b'"https://fhir.example.org/r4.', 1),
        (b'"https://fhir.example.org/r5', 28),
        (b'"https:\\/\\u00', 1),
        (b'"https%253A%25', 1),
        (b"https:&#x", 0),
        (b"https://fhir.example.org:443:4", 0),
    ],
)
def test_undecided_from(text: bytes, expected: int) -> None:
    assert expected == PATTERN.undecided_from(text)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (b"", True),
        (b'"', True),
        (b" ", True),
        (b"(", True),
        (b"=", True),
        (b"|", True),
        (b"\xc3\xa9", True),
        (b"x", False),
        (b"7", False),
        (b".", False),
        (b"-", False),
        (rb"\n", True),
        (rb"\\n", False),
        (rb"\\\n", True),
        (rb"\u003C", True),
        (rb"\u0041", False),
        (b"%3D", True),
        (b"%253d", True),
        (b"%41", False),
        (b"3D", False),
    ],
)
def test_can_begin(before: bytes, expected: bool) -> None:
    assert expected == can_begin(before)
