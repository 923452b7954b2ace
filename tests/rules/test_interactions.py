import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import Classified, Interaction
from proxy.rules.interactions import classify, is_read

ID64 = "a" * 64

# method, path, what logs show, whether it is a read
CASES = [
    ("GET", "metadata", "capabilities", True),
    ("GET", ".well-known/smart-configuration", "capabilities", True),
    ("GET", "$versions", "capabilities", True),
    ("HEAD", "metadata", "capabilities", True),
    ("GET", "Patient/1", "read Patient", True),
    ("HEAD", "Patient/a-B.9", "read Patient", True),
    ("GET", f"Patient/{ID64}", "read Patient", True),
    ("GET", "Binary/1", "read Binary", True),
    ("GET", "Patient/1/_history/2", "vread Patient", True),
    ("GET", "Patient/1/_history", "history-instance Patient", True),
    ("GET", "Patient/_history", "history-type Patient", True),
    ("GET", "_history", "history-system", True),
    ("GET", "Patient", "search-type Patient", True),
    ("GET", "", "search-system", True),
    ("GET", "Patient/1/Observation", "search-compartment Observation", True),
    ("GET", "Patient/1/*", "search-compartment Patient", True),
    ("POST", "Patient/_search", "search-type Patient", True),
    ("POST", "_search", "search-system", True),
    ("POST", "Patient/1/Observation/_search", "search-compartment Observation", True),
    ("POST", "SearchParameter/$status/_search", "search-type SearchParameter", True),
    ("POST", "Patient", "create Patient", False),
    ("PUT", "Patient/1", "update Patient", False),
    ("PUT", "Patient", "update Patient", False),
    ("PATCH", "Patient/1", "patch Patient", False),
    ("PATCH", "Patient", "patch Patient", False),
    ("DELETE", "Patient/1", "delete Patient", False),
    ("DELETE", "Patient", "delete Patient", False),
    ("DELETE", "", "delete", False),
    ("DELETE", "Patient/1/_history", "delete Patient", False),
    ("DELETE", "Patient/1/_history/2", "delete Patient", False),
    ("POST", "", "batch", False),
    ("GET", "_operations/export/42", "job", True),
    ("GET", "_operations/bulk-delete/42", "job", True),
    ("DELETE", "_operations/export/42", "job", False),
    ("GET", "_files/a/b.ndjson", "file", True),
    # operations that read
    ("GET", "Patient/1/$everything", "operation Patient $everything", True),
    ("POST", "Patient/$validate", "operation Patient $validate", True),
    ("GET", "ValueSet/$expand", "operation ValueSet $expand", True),
    ("POST", "ValueSet/$expand", "operation ValueSet $expand", True),
    ("POST", "$convert-data", "operation $convert-data", True),
    ("GET", "Patient/1/%24everything", "operation Patient $everything", True),
    ("GET", "Patient/1/$Everything", "operation Patient $everything", True),
    ("GET", "Patient/1/$meta", "operation Patient $meta", True),
    ("POST", "Patient/1/$meta", "operation Patient $meta", False),
    ("GET", "SearchParameter/$status", "operation SearchParameter $status", True),
    ("PUT", "SearchParameter/$status", "operation SearchParameter $status", False),
    ("DELETE", "Patient/1/$everything", "operation Patient $everything", False),
    # operations that write, start a job, or may
    ("GET", "$export", "operation $export", False),
    ("GET", "Group/1/$export", "operation Group $export", False),
    ("GET", "Patient/1/$reindex", "operation Patient $reindex", False),
    ("GET", "Patient/1/$REINDEX", "operation Patient $reindex", False),
    ("POST", "$import", "operation $import", False),
    ("DELETE", "Patient/1/$purge-history", "operation Patient $purge-history", False),
    ("POST", "$process-message", "operation $process-message", False),
    ("POST", "Patient/1/_history/2/$meta-delete", "operation Patient $meta-delete", False),
    ("POST", "$graphql", "operation $graphql", False),
    ("GET", "Composition/1/$document", "operation Composition $document", False),
    ("GET", "$something-new", "operation $something-new", False),
    # nothing that FHIR knows
    ("GET", "patient/1", "other", False),
    ("GET", "Patient/1/2/3", "other", False),
    ("GET", f"Patient/{ID64}a", "other", False),
    ("GET", "Patient/a_b", "other", False),
    ("GET", "Patient/1/$every_thing", "other", False),
    ("GET", "Patient/1/$reindex;a", "other", False),
    ("GET", "Patient/1/$reindex%0a", "other", False),
    ("GET", "Patient%0a", "other", False),
    ("GET", "P" * 65, "other", False),
    ("GET", "$" + "a" * 65, "other", False),
    ("GET", "admin", "other", False),
    ("POST", "metadata", "other", False),
    ("POST", "Patient/1", "other", False),
    ("POST", "Patient/1/_history", "other", False),
    ("PUT", "", "other", False),
    ("OPTIONS", "Patient", "other", False),
    ("get", "Patient", "other", False),
]


@pytest.mark.parametrize(("method", "path", "shown", "read"), CASES)
def test_interaction_and_whether_it_reads(method: str, path: str, shown: str, read: bool) -> None:
    classified = classify(method, path.encode())

    assert (str(classified), is_read(classified, method)) == (shown, read)


@pytest.mark.parametrize(("method", "path", "shown", "read"), CASES)
def test_slashes_at_the_ends_do_not_matter(method: str, path: str, shown: str, read: bool) -> None:
    assert str(classify(method, f"/{path}/".encode())) == shown


@given(
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]) | st.text(max_size=6),
    st.binary(max_size=40)
    | st.lists(st.sampled_from([b"/", b"Patient", b"$a", b"1", b"_history", b"%0a", b"\n", b"\xc3\xa4"])).map(
        b"".join
    ),
)
def test_nothing_else_gets_into_a_log(method: str, path: bytes) -> None:
    classified = classify(method, path)

    assert re.fullmatch("(?:[A-Z][A-Za-z]{1,63})?", classified.resource_type)
    assert re.fullmatch(r"(?:\$[a-z][a-z0-9-]{0,63})?", classified.operation)


def test_only_a_known_read_is_one() -> None:
    reads = {interaction for interaction in Interaction if is_read(Classified(interaction), "POST")}

    assert not reads & {
        Interaction.OTHER, Interaction.OPERATION, Interaction.BATCH, Interaction.CREATE, Interaction.UPDATE,
        Interaction.PATCH, Interaction.DELETE, Interaction.JOB,
    }  # fmt: skip
