from __future__ import annotations

import pytest

from proxy.config import ServerConfig
from proxy.model import Challenge
from proxy.rules.rejections import refused_after_sign_in
from proxy.rules.scopes import other_scopes, other_scopes_listed

SCOPES = [
    ("", ""),
    ("user_impersonation", ""),
    ("https://fhir.example/user_impersonation openid offline_access", ""),
    ("https://fhir.example//.default", ""),
    ("patient/*.read", "'patient/*.read'"),
    ("openid user_impersonation launch patient/*.read", "'launch patient/*.read'"),
    ("a\x1b[31mb", "a [31mb"),
]


@pytest.mark.parametrize(("scope", "told"), SCOPES)
def test_scopes_that_are_not_requested_are_told(scope: str, told: str) -> None:
    said = other_scopes([Challenge("bearer", {"scope": scope})])

    assert bool(told) == bool(said)
    assert told in said
    assert "user_impersonation" in said or not told


def test_no_other_scheme_asks_for_scopes() -> None:
    assert other_scopes([Challenge("dpop", {"scope": "patient/*.read"})]) == ""


def test_refusal_of_a_new_token_names_the_scopes() -> None:
    config = ServerConfig.of({"base_url": "https://fhir.example"})
    challenge = Challenge("bearer", {"error": "insufficient_scope", "scope": "patient/*.read"})

    assert "patient/*.read" in refused_after_sign_in(config, [challenge]).hint


LISTED = [
    ({"scopes_supported": ["openid", "fhirUser", "patient/*.read"]}, "'fhirUser patient/*.read'"),
    ({"scopes_supported": ["patient/*.read", "https://fhir.example/user_impersonation"]}, ""),
    ({"scopes_supported": ["openid", "offline_access"]}, ""),
    ({"scopes_supported": [7, None]}, ""),
    ({"scopes_supported": "patient/*.read"}, ""),
    ({}, ""),
]


@pytest.mark.parametrize(("configuration", "told"), LISTED)
def test_scopes_of_a_smart_configuration_are_told_where_ours_is_not_among_them(
    configuration: dict[str, object], told: str
) -> None:
    said = other_scopes_listed(configuration)

    assert bool(told) == bool(said)
    assert told in said
