from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.rules.no_proxy import excluded_hosts, is_excluded

NAMES = st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=3).map(".".join)


@pytest.mark.parametrize(
    ("environment", "hosts"),
    [
        ({}, ""),
        ({"NO_PROXY": "a"}, "a"),
        ({"no_proxy": "b", "NO_PROXY": "a"}, "b"),
        ({"no_proxy": "", "NO_PROXY": "a"}, "a"),
    ],
)
def test_lower_case_counts_first(environment: dict[str, str], hosts: str) -> None:
    assert hosts == excluded_hosts(environment)


@given(
    host=NAMES,
    domain=NAMES,
    mark=st.sampled_from(["", ".", "*."]),
    port=st.sampled_from(["", ":443", ":8443"]),
)
def test_domain_means_itself_and_all_below_it(host: str, domain: str, mark: str, port: str) -> None:
    is_below = f".{host}".endswith(f".{domain}")

    assert is_excluded(host, 443, f"other.example, {mark}{domain}{port}") is (is_below and port != ":8443")


@given(st.text(max_size=20))
def test_whatever_stands_there_can_be_read(text: str) -> None:
    assert is_excluded("fhir.example", 443, text) in {True, False}
