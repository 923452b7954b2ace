from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.sandbox.tenant import CLINIC, GUEST, MEMBER, PARTNER, POPULATION, Client, Resource
from proxy.sandbox.tenant.registry import redirect_uri_matches


@pytest.mark.parametrize(
    ("registered", "requested", "expected"),
    [
        ("http://localhost", "http://localhost:53123", True),
        ("http://localhost", "http://localhost:53123/", True),
        ("http://localhost/signed-in", "http://localhost:1/signed-in", True),
        ("http://127.0.0.1", "http://127.0.0.1:8400", True),
        ("https://app.example/back", "https://app.example/back", True),
        ("https://app.example/back?a=1", "https://app.example/back?a=1", True),
        # other hosts, paths, schemes
        ("http://localhost", "http://127.0.0.1:8400", False),
        ("http://localhost", "http://localhost:1/other", False),
        ("http://localhost", "https://localhost", False),
        ("http://localhost", "http://localhost.evil.example", False),
        ("https://app.example/back", "https://app.example:444/back", False),
        ("https://app.example/back", "https://app.example/back?a=1", False),
        # spellings that a browser reads otherwise
        ("http://localhost", "http://user@localhost:1", False),
        ("http://localhost", "http://localhost:1@evil.example", False),
        ("http://localhost", "http://localhost:1#part", False),
        ("http://localhost", "http://localhost:port", False),
        ("http://localhost", "http://localhost:1/ ", False),
        ("http://[::1]", "http://[::1]:8400", False),
    ],
)
def test_redirect_uris(registered: str, requested: str, expected: bool) -> None:
    assert redirect_uri_matches(registered, requested) is expected


@given(st.integers(min_value=1, max_value=65535))
def test_any_port_of_loopback(port: int) -> None:
    assert redirect_uri_matches("http://localhost", f"http://localhost:{port}")


@given(st.text())
def test_no_other_text_is_a_loopback_redirect(text: str) -> None:
    assert not redirect_uri_matches("http://localhost", text)


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        ("https://fhir.example", True),
        ("https://fhir.example/", True),
        ("a-guid", True),
        ("https://fhir.example/R4", False),
        ("", False),
    ],
)
def test_names_of_a_resource(identifier: str, expected: bool) -> None:
    assert Resource("https://fhir.example", application_id="a-guid").is_named(identifier) is expected


def test_later_registration_takes_the_place() -> None:
    before = POPULATION.including(Client("one", CLINIC.id, name="old"))

    after = before.including(Client("one", CLINIC.id, name="new"))

    assert (before.clients["one"].name, after.clients["one"].name) == ("old", "new")


def test_guest_has_another_object_id_in_each_directory() -> None:
    ids = {GUEST.object_id(CLINIC.id), GUEST.object_id(PARTNER.id), MEMBER.object_id(CLINIC.id)}

    assert len(ids) == 3
