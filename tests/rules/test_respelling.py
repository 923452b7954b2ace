from __future__ import annotations

import pytest

from proxy.rules.respelling import in_spelling_of, unescaped
from proxy.rules.spellings import is_percent_encoded


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


@pytest.mark.parametrize(
    ("matched", "expected"),
    [
        (b"HTTPS://X:443/a%20b", b"HTTPS://X:443/a%20b"),
        (rb"http:\/\/x\/y", b"http://x/y"),
        (rb"http\u003a\u002F/[\u003A\u003a1]", b"http://[::1]"),
        (b"http:&#x2F;&#47;x&#58;80/y", b"http://x:80/y"),
        (b"HTTP%3A%2F%2F%5B%3A%3A1%5D%2Fa%2520b", b"HTTP://[::1]/a%20b"),
        (b"http%253a%252f%252fx%252fa%252520b", b"http://x/a%20b"),
        (b"http:%2f/x%3A80", b"http://x:80"),
    ],
)
def test_unescaped(matched: bytes, expected: bytes) -> None:
    assert expected == unescaped(matched)
