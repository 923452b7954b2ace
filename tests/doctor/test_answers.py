from __future__ import annotations

import pytest

from proxy.config import ServerConfig
from proxy.doctor.answers import _kind, _off, _wanted
from proxy.doctor.state import State
from proxy.model import Challenge

from ..running import unattended

TENANT = "0c11a1c0-5a3d-4b0c-8000-000000000001"
MANAGED = "https://ws-fhir.fhir.azurehealthcareapis"


def challenge(audience: str, host: str = "login.microsoftonline.com", **more: str) -> Challenge:
    parameters = {"authorization_uri": f"https://{host}/{TENANT}", "resource_id": audience, "realm": audience}
    return Challenge("bearer", parameters | more)


def state(base_url: str, *challenges: Challenge, software: str = "", **settings: object) -> State:
    config = ServerConfig.of({"base_url": base_url, **settings})
    return State(config, unattended(), challenges=challenges, software=software)


KINDS = [
    (state(f"{MANAGED}.com"), "Azure's managed FHIR service in the Azure public cloud"),
    (state(f"{MANAGED}.us"), "Azure's managed FHIR service in Azure US Government"),
    (state("https://fhir.example", challenge("https://fhir.example")), "Microsoft's FHIR server"),
    (state("https://fhir.example", software="Microsoft FHIR Server 4"), "Microsoft's FHIR server"),
    (state("https://fhir.example", challenge("https://fhir.example", realm="other")), ""),
    (state("https://fhir.example", Challenge("basic")), ""),
    (state("https://azurehealthcareapis.com.example"), ""),
]


@pytest.mark.parametrize(("known", "kind"), KINDS)
def test_server_of_microsoft_is_recognized(known: State, kind: str) -> None:
    assert kind == _kind(known)


REMARKS = [
    # the settings and the challenge, words of the cause, words of the fix
    (state(f"{MANAGED}.com", challenge(f"{MANAGED}.com")), "", ""),
    (
        state(f"{MANAGED}.com", challenge("https://azurehealthcareapis.com")),
        "expects the audience 'https://azurehealthcareapis.com'",
        "use --audience https://azurehealthcareapis.com.",
    ),
    (
        state(f"{MANAGED}.com", challenge("https://graph.microsoft.com")),
        "another Microsoft service",
        "Check --audience.",
    ),
    (
        state(
            f"{MANAGED}.us", challenge(f"{MANAGED}.us"), tenant=TENANT, authority_host="login.microsoft.com"
        ),
        "a service of Azure US Government",
        "Use --authority-host login.microsoftonline.us.",
    ),
    (
        state("https://fhir.example", challenge("https://fhir.example", "login.window.net")),
        "not one of Microsoft's",
        "--tenant",
    ),
    (state("https://fhir.example"), "does not say how to sign in", "--tenant"),
    (
        state("https://fhir.example", Challenge("bearer", {"scope": "patient/*.read"})),
        "asks for the scopes 'patient/*.read', and exactly one is requested",
        "Have its administrator let that one in",
    ),
    (
        state("https://fhir.example", challenge("https://fhir.example"), auth="anonymous"),
        "--auth anonymous makes none",
        "--auth auto",
    ),
]


@pytest.mark.parametrize(("known", "cause", "fix"), REMARKS)
def test_challenge_that_does_not_fit_the_settings_is_remarked(known: State, cause: str, fix: str) -> None:
    remark = _off(known)

    assert bool(cause) == (remark is not None)
    if remark is not None:
        assert (cause in remark.message, fix in remark.fix) == (True, True), remark


def test_challenge_is_told_by_its_parts() -> None:
    assert _wanted((challenge("https://fhir.example"), Challenge("negotiate"))) == {
        "scheme": "bearer, negotiate",
        "authority": f"https://login.microsoftonline.com/{TENANT}",
        "tenant": TENANT,
        "audience": "https://fhir.example",
    }


@pytest.mark.parametrize("uri", ["", "http://[", "https://host/"])
def test_authority_that_is_no_url_has_no_tenant(uri: str) -> None:
    assert _wanted((Challenge("bearer", {"authorization_uri": uri}),))["tenant"] == ""
