from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.auth.answers import LONGEST_TEXT, Question, cleaned, refusal, seconds, token
from proxy.auth.registration import Permission, Registration
from proxy.errors import AuthenticationFailed, IdentityProviderUnavailable, ProxyError, SignInRequired

REGISTRATION = Registration("the-client", "https://fhir.example", Permission.PERSON, "https://fhir.example")
QUESTION = Question(REGISTRATION, "the-tenant")
SILENT = Question(REGISTRATION, "the-tenant", by_person=False)
DESCRIPTION = (
    "AADSTS7000215: Invalid client secret provided.\r\nTrace ID: t1\r\nCorrelation ID: c1\r\nTimestamp: now"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("one line", "one line"),
        ("first\nsecond", "first"),
        ("\r\n first \r\nsecond", "first"),
        (DESCRIPTION, "AADSTS7000215: Invalid client secret provided."),
        ("AADSTS1: No. Trace ID: t Correlation ID: c", "AADSTS1: No."),
        ("a\x1b[31mred\x00", "a [31mred"),
        ("right\u202eleft", "right left"),
        ("token eyJhbGciOi.eyJhdWQi.c2ln end", "token […] end"),
        ("secret aB3~aB3~aB3~aB3~aB3~aB3~aB3~aB3~aB3~aB3 end", "secret […] end"),
        ("app 0c11a1c0-5a3d-4b0c-8000-000000000001", "app 0c11a1c0-5a3d-4b0c-8000-000000000001"),
        (
            "https://workspace-service.fhir.azurehealthcareapis.com",
            "https://workspace-service.fhir.azurehealthcareapis.com",
        ),
    ],
)
def test_foreign_text_is_cleaned(text: str, expected: str) -> None:
    assert cleaned(text) == expected


@given(st.text(max_size=2000))
def test_cleaned_text_is_one_bounded_line_that_terminals_can_bear(text: str) -> None:
    line = cleaned(text)

    assert len(line) <= LONGEST_TEXT
    assert not any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} for character in line)
    assert len(line.splitlines()) <= 1


@pytest.mark.parametrize(
    ("answer", "question", "kind"),
    [
        ({"error": "invalid_client", "error_codes": [7000215]}, QUESTION, AuthenticationFailed),
        ({"error": "invalid_grant", "error_codes": [50173]}, SILENT, SignInRequired),
        ({"error": "invalid_grant", "error_codes": [65001]}, SILENT, SignInRequired),
        ({"error": "interaction_required", "error_codes": [53003]}, SILENT, SignInRequired),
        ({"error": "interaction_required", "error_codes": [53003]}, QUESTION, AuthenticationFailed),
        ({"error": "unauthorized_client", "error_codes": [700016]}, SILENT, AuthenticationFailed),
        ({"error": "access_denied", "error_codes": [65004]}, QUESTION, SignInRequired),
        ({"error": "temporarily_unavailable"}, QUESTION, IdentityProviderUnavailable),
        ({"error": "temporarily_unavailable", "error_codes": [90033]}, SILENT, IdentityProviderUnavailable),
    ],
    ids=str,
)
def test_refusal_is_an_error_of_who_must_act(
    answer: dict[str, object], question: Question, kind: type[ProxyError]
) -> None:
    assert type(refusal(answer, question)) is kind


def test_refusal_tells_cause_fix_and_identifiers() -> None:
    error = refusal(
        {
            "error": "invalid_client",
            "error_description": DESCRIPTION,
            "error_codes": [7000215],
            "trace_id": "t1",
            "correlation_id": "c1",
            "timestamp": "2026-11-22 12:00:00Z",
        },
        QUESTION,
    )

    assert "AADSTS7000215: Invalid client secret provided." in error.message
    assert "[trace t1, correlation c1, at 2026-11-22 12:00:00Z]" in error.message
    assert "code=7000215" in error.hint


def test_wrong_cloud_is_told_before_the_fix() -> None:
    question = Question(
        REGISTRATION, "the-tenant", wrong_cloud="a is of one cloud, and b of another; use --c"
    )
    told = refusal({"error": "invalid_request", "error_codes": [90002]}, question)

    assert told.hint.startswith("a is of one cloud, and b of another; use --c. Check --tenant")


def test_code_is_read_from_the_text_where_a_browser_brought_it() -> None:
    error = refusal({"error": "access_denied", "error_description": "AADSTS65004: declined"}, QUESTION)

    assert "code=65004" in error.hint


@given(
    st.dictionaries(
        st.sampled_from(["error", "error_description", "error_codes", "suberror", "trace_id", "timestamp"]),
        st.none() | st.text() | st.integers() | st.lists(st.text() | st.integers()),
    )
)
def test_any_refusal_becomes_an_error(answer: dict[str, object]) -> None:
    error = refusal(answer, QUESTION)

    assert error.message
    assert "\n" not in error.message


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3599, 3599), (3599.5, 3599.5), ("3599", 3599), ("soon", 0), (None, 0), ([], 0), ("", 0)],
)
def test_seconds_are_read(value: object, expected: float) -> None:
    assert seconds(value) == expected


def test_token_counts_its_life_from_before_the_question() -> None:
    answer = {"access_token": "t", "expires_in": "3600", "refresh_on": int(time.time()) + 1800}
    found = token(answer, QUESTION, 1000)

    assert (found.value, found.expires_at) == ("t", 4600)
    assert found.refresh_at == pytest.approx(2800, abs=5)


@pytest.mark.parametrize(
    "answer", [{}, {"access_token": ""}, {"access_token": 1}, {"id_token": "x", "expires_in": 1}], ids=str
)
def test_answer_without_token_makes_no_sense(answer: dict[str, object]) -> None:
    with pytest.raises(IdentityProviderUnavailable, match="makes no sense"):
        token(answer, QUESTION, 0)
