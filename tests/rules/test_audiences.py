from __future__ import annotations

import pytest

from proxy.config import ServerConfig
from proxy.errors import ConfigError
from proxy.model import Challenge
from proxy.rules.audiences import OTHER_SERVICES, audience, audience_mismatch

OTHER = "11111111-2222-3333-4444-555555555555"
FHIR = "https://ws-fhir.fhir.azurehealthcareapis"


def config(**settings: object) -> ServerConfig:
    return ServerConfig.of({"base_url": "https://fhir.example", **settings})


def bearer(**parameters: str) -> tuple[Challenge, ...]:
    return (Challenge("negotiate"), Challenge("bearer", parameters))


AUDIENCES = [
    ({}, "https://fhir.example"),
    ({"base_url": "https://fhir.example/"}, "https://fhir.example"),
    ({"base_url": "https://fhir.example/r4/"}, "https://fhir.example/r4"),
    ({"base_url": f"{FHIR}.com"}, f"{FHIR}.com"),
    ({"audience": "https://fhir.example/"}, "https://fhir.example/"),
    ({"audience": "api://fhir-api"}, "api://fhir-api"),
    ({"audience": OTHER}, OTHER),
    # the service itself is the server
    (
        {"base_url": "https://graph.microsoft.com", "audience": "https://graph.microsoft.com/"},
        "https://graph.microsoft.com/",
    ),
]


@pytest.mark.parametrize(("settings", "expected"), AUDIENCES)
def test_audience_is_the_configured_one_or_the_base_url(settings: dict[str, object], expected: str) -> None:
    assert expected == audience(config(**settings))


FOREIGN = [
    "https://graph.microsoft.com",
    "https://graph.microsoft.com/",
    "https://GRAPH.microsoft.com:443//",
    "https://management.core.windows.net/",
    "https://management.azure.com/.default",
    "https://vault.azure.net",
    "00000003-0000-0000-C000-000000000000",
    "spn:00000003-0000-0000-c000-000000000000",
    "api://797f4846-ba00-4fd7-ba43-dac1f8f63013",
    "graph.microsoft.com",
]


@pytest.mark.parametrize("foreign", FOREIGN)
def test_audience_of_another_service_is_refused(foreign: str) -> None:
    with pytest.raises(ConfigError, match="another Microsoft service"):
        audience(config(audience=foreign))


@pytest.mark.parametrize("foreign", FOREIGN)
def test_audience_of_another_service_is_never_offered(foreign: str) -> None:
    text = audience_mismatch(config(), bearer(resource_id=foreign))

    assert "another Microsoft service" in text
    assert "--audience" not in text


MISMATCHES = [
    (bearer(resource_id="api://fhir-api"), "", "use --audience api://fhir-api"),
    (bearer(resource=OTHER), "", f"use --audience {OTHER}"),
    (bearer(resource_id="https://fhir.example/"), "", "use --audience https://fhir.example/"),
    (bearer(resource_id="https://fhir.example"), "https://old.example", "made for 'https://old.example'"),
    (bearer(resource_id="x; rm -rf ~"), "", "expects the audience 'x; rm -rf ~', and"),
    (bearer(resource_id="x" * 500), "", "xxx…'"),
]


@pytest.mark.parametrize(("challenges", "ours", "words"), MISMATCHES)
def test_other_audience_is_offered(challenges: tuple[Challenge, ...], ours: str, words: str) -> None:
    assert words in audience_mismatch(config(), challenges, ours)


@pytest.mark.parametrize("resource", ["x; rm -rf ~", "x" * 500, "$(x)", "`x`", "ü", "a b"])
def test_what_a_shell_would_run_is_not_offered(resource: str) -> None:
    assert "--audience" not in audience_mismatch(config(), bearer(resource_id=resource))


@pytest.mark.parametrize(
    ("settings", "challenges"),
    [
        ({}, ()),
        ({}, bearer()),
        ({}, bearer(resource_id="https://fhir.example")),
        ({"audience": "api://x"}, bearer(resource_id="api://x")),
        ({}, (Challenge("basic", {"resource_id": "x"}),)),
    ],
)
def test_same_audience_needs_no_words(settings: dict[str, object], challenges: tuple[Challenge, ...]) -> None:
    assert audience_mismatch(config(**settings), challenges) == ""


def test_other_services_are_written_as_they_are_compared() -> None:
    assert {name.lower().rstrip("/") for name in OTHER_SERVICES} == OTHER_SERVICES
