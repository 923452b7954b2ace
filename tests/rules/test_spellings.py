from __future__ import annotations

import pytest

from proxy.model import BaseUrl
from proxy.rules.spellings import AddressPattern, can_begin, in_spelling_of, is_percent_encoded

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


@pytest.mark.parametrize(
    ("matched", "encoded", "expected"),
    [
        (b"http://x", False, b"https://[::1]:9/a%20b"),
        (rb"http:\/\/x", False, rb"https:\/\/[::1]:9\/a%20b"),
        (rb"http\u003a\u002f/x", False, rb"https\u003a\u002f/[\u003a\u003a1]\u003a9/a%20b"),
        (rb"http:\/\/x/y", False, rb"https:\/\/[::1]:9/a%20b"),
        (b"http%3A%2F%2Fx", True, b"https%3A%2F%2F%5B%3A%3A1%5D%3A9%2Fa%2520b"),
        (b"http%253a%252f%252fx", True, b"https%253a%252f%252f%255B%253a%253a1%255D%253a9%252fa%252520b"),
        (b"http:%2f/x:80", True, b"https:%2f/%5B::1%5D:9/a%2520b"),
    ],
)
def test_in_spelling_of(matched: bytes, encoded: bool, expected: bytes) -> None:
    assert encoded == is_percent_encoded(matched)
    assert expected == in_spelling_of(matched, b"https://[::1]:9/a%20b")
