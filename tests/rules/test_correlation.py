from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import Fields, RequestHead
from proxy.rules.correlation import answered, identified

MADE = "0a1b2c3d"


def request(*ids: bytes) -> RequestHead:
    return RequestHead("GET", b"/Patient", Fields(tuple((b"x-request-ID", value) for value in ids)))


def test_request_without_an_id_gets_one() -> None:
    head, logged = identified(request(), MADE)

    assert (head.fields.get_all(b"x-request-id"), logged) == ((b"0a1b2c3d",), MADE)


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (b"7", "7"),
        (b"4bf92f35-77b3.4da6_a:1", "4bf92f35-77b3.4da6_a:1"),
        (b"x" * 65, MADE),
        (b"Peter Chalmers", MADE),
        (b"", MADE),
        (b"a\xffb", MADE),
        (b"a\n2026 INFO forged", MADE),
    ],
)
def test_own_id_goes_on_as_it_is_and_only_a_plain_one_is_logged(own: bytes, expected: str) -> None:
    head, logged = identified(request(own), MADE)

    assert (head, logged) == (request(own), expected)


@given(own=st.binary(max_size=80))
def test_logged_id_is_one_plain_word(own: bytes) -> None:
    _, logged = identified(request(own), MADE)

    assert logged.isascii()
    assert logged.isprintable()
    assert not set(logged) & set(" \"'{}()=")


def test_answer_gets_the_id_where_the_server_gave_none() -> None:
    lines = answered(Fields(), request(b"1").fields).lines
    given_one = Fields(((b"X-REQUEST-ID", b"2"),))

    assert lines == ((b"X-Request-Id", b"1"),)
    assert answered(given_one, request(b"1").fields) == given_one
    assert answered(Fields(), Fields()) == Fields()
