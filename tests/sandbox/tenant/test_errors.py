from __future__ import annotations

import pytest

from proxy.sandbox.tenant import EntraError
from proxy.sandbox.tenant.errors import KINDS


@pytest.mark.parametrize("code", sorted(KINDS))
def test_every_code_makes_an_answer(code: int) -> None:
    answer = EntraError(code, "{subject}").answer(0.0, "the-correlation-id")

    assert answer["error_codes"] == [code]
    assert str(answer["error_description"]).startswith(f"AADSTS{code}: ")
    assert (answer["timestamp"], answer["correlation_id"]) == ("1970-01-01 00:00:00Z", "the-correlation-id")


def test_subject_is_text_alone() -> None:
    assert "{trace_id}" in EntraError(700016, "{trace_id}").text
