from __future__ import annotations

import pytest

from proxy.model import Classified, Interaction
from proxy.rules.interactions import classify
from proxy.rules.vocabulary import OPERATIONS, RESOURCE_TYPES, in_own_words
from proxy.sandbox.fhir.resource_types import RESOURCE_TYPES as R4


@pytest.mark.parametrize(
    ("method", "path", "shown"),
    [
        ("GET", b"Patient/1", "read Patient"),
        ("GET", b"ActorDefinition", "search-type ActorDefinition"),
        ("GET", b"patient/1", "other"),
        ("GET", b"Lovelace", "search-type"),
        ("POST", b"Patient/1/$EVERYTHING", "operation Patient $everything"),
        ("POST", b"Lovelace/1/$everything", "operation $everything"),
        ("POST", b"Patient/$lovelace", "operation Patient"),
        ("DELETE", b"", "delete"),
    ],
)
def test_only_words_of_fhir_are_shown(method: str, path: bytes, shown: str) -> None:
    assert shown == str(in_own_words(classify(method, path)))


def test_every_type_of_r4_is_known() -> None:
    assert not set(R4) - RESOURCE_TYPES


def test_operations_are_written_as_requests_are_classified() -> None:
    for operation in OPERATIONS:
        assert Classified(Interaction.OPERATION, "", operation) == classify(
            "POST", operation.upper().encode()
        )
