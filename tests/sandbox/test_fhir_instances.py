from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.sandbox.fhir import DOCUMENT, PHOTO
from proxy.sandbox.fhir.json_text import Number, read, write

from .fhir_running import running

PATIENT = {"resourceType": "Patient", "id": "new", "name": [{"family": "Ünal"}]}
OBSERVATION = (
    '{"resourceType":"Observation","id":"exact","status":"final","code":{"text":"a\\/b \\u00e9"},'
    '"component":[{"valueQuantity":{"value":72.0}},{"valueQuantity":{"value":1.10}},'
    '{"valueQuantity":{"value":1E-7}},{"valueQuantity":{"value":-0.00}},{"valueQuantity":{"value":12}}]}'
)


async def test_a_resource_lives_and_dies() -> None:
    async with running() as ask:
        base = ask.server.base_url
        created = await ask("POST", "Patient", {**PATIENT, "id": "ignored", "meta": {"versionId": "9"}})
        id_ = created.json["id"]
        assert (created.status, created.fields["ETag"]) == (201, 'W/"1"')
        assert f"{base}/Patient/{id_}/_history/1" == created.fields["Location"]
        assert (created.json["meta"]["versionId"], created.json["name"][0]["family"]) == ("1", "Ünal")

        updated = await ask("PUT", f"Patient/{id_}", {**PATIENT, "id": id_, "active": True}, If_Match='W/"1"')
        assert (updated.status, updated.fields["ETag"], updated.json["active"]) == (200, 'W/"2"', True)
        stale = await ask("PUT", f"Patient/{id_}", {**PATIENT, "id": id_}, If_Match='W/"1"')
        assert (stale.status, stale.json["issue"][0]["code"]) == (412, "conflict")
        first = await ask("GET", created.fields["Location"])
        assert (200, created.json) == (first.status, first.json)

        deleted = await ask("DELETE", f"Patient/{id_}")
        assert (deleted.status, deleted.body, deleted.fields["ETag"]) == (204, b"", 'W/"3"')
        assert (await ask("GET", f"Patient/{id_}")).status == 410
        assert (await ask("GET", f"Patient/{id_}/_history/3")).status == 410
        assert (await ask("DELETE", f"Patient/{id_}")).status == 204
        assert (await ask("GET", f"Patient?_id={id_}")).ids == []

        history = (await ask("GET", f"Patient/{id_}/_history")).json
        assert history["total"] == 3
        assert [(entry["request"]["method"], entry["response"]["status"]) for entry in history["entry"]] == [
            ("DELETE", "204"),
            ("PUT", "200"),
            ("POST", "201"),
        ]
        assert ["resource" in entry for entry in history["entry"]] == [False, True, True]

        revived = await ask("PUT", f"Patient/{id_}", {**PATIENT, "id": id_})
        assert (revived.status, revived.fields["ETag"]) == (201, 'W/"4"')


async def test_update_creates_under_the_id_of_the_client() -> None:
    async with running() as ask:
        answer = await ask("PUT", "Patient/new", PATIENT)

        assert (answer.status, answer.json["id"]) == (201, "new")
        assert answer.body.decode() == ask.server.stored("Patient", "new")


async def test_decimals_are_stored_and_answered_as_they_came() -> None:
    async with running() as ask:
        await ask("PUT", "Observation/exact", OBSERVATION)
        found = (await ask("GET", "Observation?_id=exact")).body.decode()
        operations = [{"op": "replace", "path": "/status", "value": "amended"}]
        patch_type = "application/json-patch+json"
        patched = await ask("PATCH", "Observation/exact", json.dumps(operations), Content_Type=patch_type)

        for text in (ask.server.stored("Observation", "exact"), found, patched.body.decode()):
            for number in ("72.0", "1.10", "1E-7", "-0.00", "12"):
                assert f'{{"value":{number}}}' in text
        assert "1.10" in (await ask("GET", "Observation/observation-0004-1")).body.decode()


KNOWN = (
    # If-None-Match or If-Modified-Since, status
    ({"If_None_Match": 'W/"1"'}, 304),
    ({"If_None_Match": 'W/"7", W/"1"'}, 304),
    ({"If_None_Match": 'W/"2"'}, 200),
    ({"If_Modified_Since": "Thu, 01 Jan 2026 08:00:00 GMT"}, 304),
    ({"If_Modified_Since": "Thu, 01 Jan 2026 07:59:59 GMT"}, 200),
    ({"If_Modified_Since": "never"}, 200),
)


@pytest.mark.parametrize(("fields", "status"), KNOWN)
async def test_a_version_that_the_client_has_is_not_sent_again(fields: dict[str, str], status: int) -> None:
    async with running() as ask:
        answer = await ask("GET", "Patient/patient-0001", **fields)

        assert (status, 'W/"1"', status == 200) == (answer.status, answer.fields["ETag"], answer.body != b"")
        assert answer.fields["Last-Modified"] == "Thu, 01 Jan 2026 08:00:00 GMT"


async def test_head_is_a_read_without_the_body() -> None:
    async with running() as ask:
        read_ = await ask("GET", "Patient/patient-0001")
        head = await ask("HEAD", "Patient/patient-0001")

        assert (head.status, head.body) == (200, b"")
        for name in ("ETag", "Last-Modified", "Content-Type", "Content-Length"):
            assert read_.fields[name] == head.fields[name]


async def test_a_conditional_create_finds_what_is_there() -> None:
    async with running() as ask:
        condition = "identifier=https://sandbox.example/mrn|MRN000005"
        found = await ask("POST", "Patient", PATIENT, If_None_Exist=condition)
        created = await ask("POST", "Patient", PATIENT, If_None_Exist="identifier=sys|none")
        several = await ask("POST", "Patient", PATIENT, If_None_Exist="gender=male")
        nothing = await ask("POST", "Patient", PATIENT, If_None_Exist="unheard-of=1")

        assert (found.status, found.json["id"]) == (200, "patient-0005")
        assert f"{ask.server.base_url}/Patient/patient-0005/_history/1" == found.fields["Location"]
        assert (created.status, several.status, nothing.status) == (201, 412, 400)


async def test_conditional_update_and_delete_act_on_the_one_match() -> None:
    async with running() as ask:
        patient = {"resourceType": "Patient", "identifier": [{"system": "s", "value": "v"}]}
        answers = [
            await ask("PUT", "Patient?identifier=s|v".replace("|", "%7C"), patient),
            await ask("PUT", "Patient?identifier=s%7Cv", patient),
            await ask("DELETE", "Patient?identifier=s%7Cv"),
            await ask("DELETE", "Patient?identifier=s%7Cv"),
            await ask("DELETE", "Patient?gender=male"),
            await ask("DELETE", "Patient"),
        ]

        assert [answer.status for answer in answers] == [201, 200, 204, 204, 412, 412]
        assert answers[0].json["id"] == answers[1].json["id"]


PATCHES = (
    # operations, status
    ([{"op": "add", "path": "/active", "value": False}], 200),
    ([{"op": "test", "path": "/id", "value": "patient-0001"}, {"op": "remove", "path": "/name"}], 200),
    ([{"op": "test", "path": "/id", "value": "another"}], 422),
    ([{"op": "remove", "path": "/nothing"}], 422),
    ([{"op": "sing", "path": "/id"}], 422),
    ({"op": "remove"}, 422),
    ([{"op": "replace", "path": "/id", "value": "another"}], 400),
    ([{"op": "replace", "path": "", "value": []}], 400),
)


@pytest.mark.parametrize(("operations", "status"), PATCHES)
async def test_a_json_patch_is_applied_whole_or_not_at_all(operations: object, status: int) -> None:
    async with running() as ask:
        before = ask.server.stored("Patient", "patient-0001")
        body = json.dumps(operations)
        patch_type = "application/json-patch+json"
        stale = await ask("PATCH", "Patient/patient-0001", body, Content_Type=patch_type, If_Match='W/"9"')
        answer = await ask("PATCH", "Patient/patient-0001", body, Content_Type=patch_type)

        assert (412, status) == (stale.status, answer.status)
        assert (status == 200) == (before != ask.server.stored("Patient", "patient-0001"))


async def test_a_binary_is_exact_in_both_forms() -> None:
    async with running() as ask:
        data = bytes(range(256)) + b"http://localhost/Patient"
        written = await ask("PUT", "Binary/new", data, Content_Type="application/pdf")
        raw = await ask("GET", "Binary/new")
        wrapped = await ask("GET", "Binary/new", Accept="application/fhir+json")
        posted = await ask("POST", "Binary", {"resourceType": "Binary", "contentType": "a/b", "data": "AAE="})
        posted_raw = await ask("GET", f"Binary/{posted.json['id']}", Accept="application/xml")

        assert (201, data, "application/pdf") == (written.status, raw.body, raw.fields["Content-Type"])
        assert data == base64.b64decode(wrapped.json["data"])
        assert (posted_raw.body, posted_raw.fields["Content-Type"]) == (b"\x00\x01", "a/b")


async def test_attachments_lead_to_their_bytes() -> None:
    async with running() as ask:
        photo = (await ask("GET", "Patient/patient-0010")).json["photo"][0]
        document = (await ask("GET", "DocumentReference/document-0010")).json["content"][0]["attachment"]

        assert (await ask("GET", photo["url"])).body == PHOTO
        assert (await ask("GET", document["url"])).body == DOCUMENT


REFUSED = (
    # method, target, body, fields, status
    ("POST", "Patient", "{", {}, 400),
    ("POST", "Patient", "[]", {}, 400),
    ("POST", "Patient", '{"id":"a"}', {}, 400),
    ("POST", "Patient", '{"resourceType":"Patient","a":NaN}', {}, 400),
    ("POST", "Patient", b"\xff\xfe", {"Content_Type": "application/json"}, 400),
    ("POST", "Patient", "{" + '"a":[' * 100_000, {}, 400),
    ("POST", "Patient", '{"resourceType":"Observation"}', {}, 400),
    ("POST", "Patient", "<Patient/>", {"Content_Type": "application/fhir+xml"}, 415),
    ("PUT", "Patient/other", PATIENT, {}, 400),
    ("PUT", "Patient/new", PATIENT, {"If_Match": 'W/"1"'}, 404),
    ("PATCH", "Patient/patient-0001", "{}", {}, 415),
    ("GET", "Patient/patient-9999", None, {}, 404),
    ("GET", "Patient/patient-9999/_history", None, {}, 404),
    ("GET", "Patient/patient-0001/_history/2", None, {}, 404),
    ("GET", "Patient/patient-0001", None, {"Accept": "text/turtle"}, 406),
    ("GET", "nonsense", None, {}, 404),
    ("GET", f"Patient/{'a' * 65}", None, {}, 404),
    ("POST", "Patient/patient-0001", PATIENT, {}, 405),
)


@pytest.mark.parametrize(("method", "target", "body", "fields", "status"), REFUSED)
async def test_a_refusal_is_an_operation_outcome(
    method: str, target: str, body: object, fields: dict[str, str], status: int
) -> None:
    async with running() as ask:
        answer = await ask(method, target, body, **fields)

        assert (status, "OperationOutcome") == (answer.status, answer.json["resourceType"])


async def test_return_minimal_leaves_the_body_out() -> None:
    async with running() as ask:
        answer = await ask("PUT", "Patient/new", PATIENT, Prefer="return=minimal")

        assert (answer.status, answer.body, answer.fields["ETag"]) == (201, b"", 'W/"1"')


async def test_histories_of_a_type_and_of_the_system_are_paged_and_begin_since() -> None:
    async with running(patients=3) as ask:
        await ask("PUT", "Patient/new", PATIENT)
        of_type = await ask("GET", "Patient/_history?_count=3")
        rest = await ask("GET", of_type.link("next"))
        of_system = await ask("GET", "_history")
        since = await ask("GET", "_history?_since=2026-02-01T00:00:00Z")

        assert of_type.ids == ["new", "patient-0003", "patient-0002"]
        assert (rest.ids, rest.link("next")) == (["patient-0001"], None)
        assert (of_system.json["total"], since.ids) == (16, ["new"])


numbers = st.from_regex(r"-?(0|[1-9][0-9]{0,9})(\.[0-9]{1,9}|[eE][+-]?[0-9]{1,2})", fullmatch=True)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | numbers.map(Number),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(deadline=None)
@given(values)
def test_what_is_read_is_written_again(value: object) -> None:
    text = write({"resourceType": "Basic", "value": value})

    assert text == write(read(text))
    assert json.loads(text)["value"] == json.loads(write(value))
