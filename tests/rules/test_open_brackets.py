from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.rules import open_brackets
from proxy.rules.open_brackets import last_open

texts = st.lists(st.sampled_from(["{", "[", "}", "]", '"{"', '"]a"', '""', ":", ", ", "1"])).map("".join)


def plainly(text: str) -> list[int]:
    """Where brackets stand open, found octet by octet; one without a partner closes nothing."""
    found: list[int] = []
    in_string = False
    for index, character in enumerate(text):
        in_string ^= character == '"'
        if in_string:
            continue
        if character in "{[":
            found.append(index)
        elif character in "}]" and found:
            found.pop()
    return found


@given(texts, st.integers(1, 5), st.sampled_from([2, 4, 512]))
def test_the_last_open_ones_are_those_that_nothing_closes(text: str, count: int, together: int) -> None:
    expected = plainly(text)[::-1][:count]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(open_brackets, "_QUOTES", together)

        assert expected == last_open(text.encode(), len(text), count)


def test_what_is_behind_the_end_is_not_looked_at() -> None:
    assert [0] == last_open(b'{"a":[', 5, 2)
