from __future__ import annotations

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth.seal import MARK_BYTES, Seal, Unreadable, seal_of
from proxy.errors import ConfigError

OLD, NEW = bytes(range(32)), bytes(range(1, 33))


def as_text(key: bytes) -> str:
    return base64.b64encode(key).decode()


@given(st.text(), st.text())
def test_what_is_sealed_opens_under_its_name(text: str, name: str) -> None:
    sealed = Seal((NEW,)).sealed(text, name)

    assert text == Seal((NEW,)).opened(sealed, name)


def test_text_and_key_are_not_to_be_seen() -> None:
    seal = Seal((NEW,))

    assert b"refresh token" not in seal.sealed("refresh token", "name")
    assert repr(seal) == "Seal()"


def test_first_key_seals_and_all_open() -> None:
    old = Seal((OLD,)).sealed("text", "name")
    new = Seal((NEW, OLD)).sealed("text", "name")

    assert Seal((NEW, OLD)).opened(old, "name") == "text"
    assert Seal((NEW,)).opened(new, "name") == "text"


@given(st.data())
def test_nothing_that_was_changed_opens(data: st.DataObject) -> None:
    sealed = bytearray(Seal((NEW,)).sealed("text", "name"))
    place = data.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= data.draw(st.integers(1, 255))

    with pytest.raises(Unreadable):
        Seal((NEW,)).opened(bytes(sealed), "name")


@pytest.mark.parametrize(
    ("sealed", "name"),
    [
        (Seal((NEW,)).sealed("text", "another name"), "name"),
        (Seal((OLD,)).sealed("text", "name"), "name"),
        (Seal((NEW,)).sealed("text", "name")[:MARK_BYTES], "name"),
        (Seal((NEW,)).sealed("text", "name")[:5], "name"),
        (b"text", "name"),
        (b"", "name"),
    ],
    ids=["another name", "another key", "cut", "cut short", "never sealed", "empty"],
)
def test_what_is_not_ours_does_not_open(sealed: bytes, name: str) -> None:
    with pytest.raises(Unreadable):
        Seal((NEW,)).opened(sealed, name)


def test_two_seals_of_one_text_differ_from_the_mark_on() -> None:
    seal = Seal((NEW,))

    assert seal.sealed("text", "name")[:MARK_BYTES] != seal.sealed("text", "name")[:MARK_BYTES]


@pytest.mark.parametrize("between", ["\n", ", ", " ", "\r\n\r\n", ","])
def test_keys_are_read_in_their_order(between: str) -> None:
    assert seal_of(as_text(NEW) + between + as_text(OLD) + "\n", "setting").keys == (NEW, OLD)


def test_url_safe_base64_is_taken_as_well() -> None:
    key = b"\xfb\xff" * 16

    assert seal_of(base64.urlsafe_b64encode(key).decode(), "setting").keys == (key,)


WRONG_KEYS = [
    ("", "setting holds no key: it is not base64 of 32 bytes"),
    (" \n", "setting holds no key: it is not base64 of 32 bytes"),
    ("visible-secret", "setting holds no key: its key 1 is not base64 of 32 bytes"),
    (as_text(NEW)[:-4], "setting holds no key: its key 1 is not base64 of 32 bytes"),
    (as_text(os.urandom(33)), "setting holds no key: its key 1 is not base64 of 32 bytes"),
    (f"{as_text(NEW)},{as_text(OLD[:16])}", "setting holds no key: its key 2 is not base64 of 32 bytes"),
]


@pytest.mark.parametrize(("text", "message"), WRONG_KEYS)
def test_what_is_no_key_is_told_and_not_quoted(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        seal_of(text, "setting")

    assert message == raised.value.message
    assert "openssl rand -base64 32" in raised.value.hint
