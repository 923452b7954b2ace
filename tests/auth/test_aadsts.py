from __future__ import annotations

from collections import Counter
from string import Formatter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth import aadsts, aadsts_table
from proxy.auth.aadsts import explain
from proxy.auth.aadsts_table import Actor
from proxy.errors import AuthenticationFailed, IdentityProviderUnavailable, SignInRequired

USER, ADMINISTRATOR, OPERATOR, NETWORK = Actor

WHO = [
    # consent and permissions
    ((65001, 90094, 50105), ADMINISTRATOR),
    ((65004,), USER),
    ((65002, 650057, 65005), OPERATOR),
    # resource, scope, app, tenant
    ((500011, 70011, 28002, 700022, 1002012), OPERATOR),
    ((700016, 50194, 90124, 9001023, 90002, 90038, 900382, 90019, 50059), OPERATOR),
    ((7000215, 7000222, 7000218, 700025, 700027, 700024), OPERATOR),
    ((700211, 700212, 700213, 70021), OPERATOR),
    ((50011, 500117, 70007, 700084), OPERATOR),
    # account
    ((50020, 50034, 51004, 90072, 16000, 50014, 500208), USER),
    ((500212, 500213, 50057, 50053), ADMINISTRATOR),
    ((50055,), USER),
    # policies
    ((50076, 50074, 50078, 50079, 50072), USER),
    ((53003, 530032, 53000, 53001, 53002, 50097, 50005), ADMINISTRATOR),
    ((530036, 70043), USER),
    # sign-ins that end
    ((70008, 700082, 50173, 50132, 50133, 70000), USER),
    ((70016, 70018, 70019, 90119, 54005, 501481), USER),
    # passing
    ((50196, 90055, 50033, 90006), NETWORK),
]


@pytest.mark.parametrize(("code", "who"), [(code, who) for codes, who in WHO for code in codes], ids=str)
def test_number_is_explained_by_its_own_row(code: int, who: Actor) -> None:
    explanation = explain([code], "no such error")

    assert (who, code, f"https://login.microsoftonline.com/error?code={code}") == (
        explanation.who,
        explanation.code,
        explanation.link,
    )


MENTIONS = [
    (65001, "Grant admin consent"),
    (65001, "client-7"),
    (65001, "Authorized client applications > Add a client application > client-7"),
    (65001, "a672d62c-fc7b-4e81-a576-e60dc46e951d"),
    (650057, "a672d62c-fc7b-4e81-a576-e60dc46e951d"),
    (65002, "Authorized client applications"),
    (500011, "Application ID URI"),
    (650057, "https://audience.example"),
    (500011, "https://fhir.example/r4"),
    (700016, "--client-id"),
    (90002, "tenant-7"),
    (90038, "--authority-host"),
    (50194, "--tenant"),
    (7000215, "AZURE_CLIENT_SECRET"),
    (7000218, "Allow public client flows"),
    (50011, "http://localhost"),
    (53003, "--auth interactive"),
    (50105, "Assignment required?"),
]


@pytest.mark.parametrize(("code", "text"), MENTIONS)
def test_explanation_names_the_next_step_and_the_values_at_hand(code: int, text: str) -> None:
    explanation = explain(
        [code],
        "",
        base_url="https://fhir.example/r4",
        client_id="client-7",
        tenant="tenant-7",
        audience="https://audience.example",
    )

    assert text in f"{explanation.cause} {explanation.fix}"


TEXTS = [
    *((str(row.codes), text) for row in aadsts_table.ROWS for text in (row.cause, row.fix)),
    *((name, text) for name, row in aadsts_table.BY_ERROR.items() for text in row[1:]),
    *((name, text) for name, row in aadsts_table.BY_SUBERROR.items() for text in row[1:]),
    *(("unknown", text) for text in aadsts_table.UNKNOWN[1:]),
]


@pytest.mark.parametrize(("row", "text"), TEXTS)
def test_text_is_a_sentence_with_known_names(row: str, text: str) -> None:
    names = {name for _, name, _, _ in Formatter().parse(text) if name is not None}

    assert text.endswith(".")
    assert names <= set(aadsts.UNKNOWN_NAMES)


def test_every_number_has_one_row() -> None:
    repeated = [
        code
        for code, count in Counter(code for row in aadsts_table.ROWS for code in row.codes).items()
        if count > 1
    ]

    assert repeated == []


CHOICES = [
    # the first number with a row, before everything else
    ([65001], "invalid_grant", "bad_token", (65001, ADMINISTRATOR)),
    ([1, 50196, 65001], "invalid_grant", "", (50196, NETWORK)),
    # an unknown number keeps its link and is explained by suberror, then error
    ([123456789], "invalid_grant", "additional_action", (123456789, ADMINISTRATOR)),
    ([123456789], "invalid_grant", "", (123456789, USER)),
    ([123456789], "something_new", "something_new", (123456789, ADMINISTRATOR)),
    # no number
    ([], "invalid_grant", "protection_policy_required", (None, ADMINISTRATOR)),
    ([], "interaction_required", "", (None, USER)),
    ([], "login_required", "", (None, USER)),
    ([], "invalid_grant", "unknown", (None, USER)),
    ([], "access_denied", "", (None, USER)),
    ([], "consent_required", "", (None, ADMINISTRATOR)),
    ([], "invalid_client", "", (None, OPERATOR)),
    ([], "unauthorized_client", "", (None, OPERATOR)),
    ([], "invalid_scope", "", (None, OPERATOR)),
    ([], "invalid_resource", "", (None, OPERATOR)),
    ([], "invalid_request", "", (None, OPERATOR)),
    ([], "temporarily_unavailable", "", (None, NETWORK)),
    ([], "server_error", "", (None, NETWORK)),
    ([], "", "", (None, ADMINISTRATOR)),
]


@pytest.mark.parametrize(("codes", "error", "suberror", "expected"), CHOICES)
def test_number_counts_before_suberror_before_error(
    codes: list[int], error: str, suberror: str, expected: tuple[int | None, Actor]
) -> None:
    explanation = explain(codes, error, suberror)

    assert expected == (explanation.code, explanation.who)


def test_there_is_no_link_without_a_number() -> None:
    assert explain([], "invalid_grant").link == ""


CLASSES = [
    (70008, SignInRequired),
    (65001, AuthenticationFailed),
    (7000215, AuthenticationFailed),
    (90055, IdentityProviderUnavailable),
]


@pytest.mark.parametrize(("code", "error_class"), CLASSES)
def test_who_must_act_decides_the_error(code: int, error_class: type) -> None:
    assert error_class is explain([code], "").error_class


@given(
    st.lists(st.one_of(st.sampled_from(sorted(aadsts_table.BY_CODE)), st.integers())),
    st.one_of(st.sampled_from(sorted(aadsts_table.BY_ERROR)), st.text()),
    st.one_of(st.sampled_from(sorted(aadsts_table.BY_SUBERROR)), st.text()),
)
def test_everything_is_explained(codes: list[int], error: str, suberror: str) -> None:
    explanation = explain(codes, error, suberror)

    assert explanation.cause
    assert explanation.fix


@given(st.text(min_size=1))
def test_value_is_shown_as_it_is_and_never_read_as_a_template(value: str) -> None:
    assert f"the app {value} may" in explain([65001], "", client_id=value, audience="{tenant}").cause


@pytest.mark.parametrize("code", aadsts.STORAGE_BY_CODE)
def test_missing_permission_for_storage_is_told_as_such(code: int) -> None:
    there = explain([code], "invalid_grant", client_id="client-7", audience="https://storage.azure.com")
    here = explain([code], "invalid_grant", client_id="client-7", audience="https://fhir.example")

    assert there.who is ADMINISTRATOR
    assert "Azure Storage" in there.cause
    assert "az ad app permission add --id client-7" in there.fix
    assert "Storage" not in here.cause + here.fix
