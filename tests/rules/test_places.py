from __future__ import annotations

import pytest

from proxy.rules.places import ADDRESSES, ATTACHMENTS, CALLED_BY_SERVER, is_address


class Place:
    """A structure that knows one place."""

    def __init__(self, name: str | None, parent: str) -> None:
        self._name = name
        self._parent = parent

    def name(self, data: bytes, start: int) -> str | None:
        return self._name

    def parent(self, data: bytes, start: int) -> str:
        return self._parent

    def passed(self, data: bytes, end: int) -> None:
        raise AssertionError("a question passes nothing")


@pytest.mark.parametrize(
    ("name", "parent", "expected"),
    [
        ("reference", "subject", True),
        ("fullUrl", "entry", True),
        ("valueUrl", "extension", True),
        ("url", "link", True),
        ("url", "valueAttachment", True),
        ("url", "output", True),
        ("url", "", False),
        ("url", "extension", False),
        ("url", "resource", False),
        ("valueUri", "parameter", True),
        ("valueUri", "extension", False),
        ("definition", "operation", True),
        ("definition", "searchParam", False),
        ("location", "response", True),
        ("location", "issue", False),
        ("system", "identifier", False),
        (None, "link", False),
    ],
)
def test_is_address(name: str | None, parent: str, expected: bool) -> None:
    assert expected == is_address(Place(name, parent), b"", 0)


def test_what_the_server_calls_is_no_address_of_its_own() -> None:
    assert not set(CALLED_BY_SERVER) & set(ADDRESSES)


def test_each_attachment_holds_an_address() -> None:
    assert ATTACHMENTS <= ADDRESSES["url"]
