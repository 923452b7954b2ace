from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.sandbox.fhir.outcome import FhirError
from proxy.sandbox.fhir.paging import Paging
from proxy.sandbox.fhir.parameters import join_values, split_values
from proxy.sandbox.fhir.spellings import Page, query_pairs

from .fhir_running import PATIENTS, Client, running


@pytest.fixture
async def ask() -> AsyncIterator[Client]:
    async with running() as client:
        yield client


SEARCHES = (
    # target, ids found
    ("Patient?_id=patient-0003", ["patient-0003"]),
    ("Patient?_id=patient-0003,patient-0001", ["patient-0001", "patient-0003"]),
    ("Patient?identifier=https://sandbox.example/mrn|MRN000004", ["patient-0004"]),
    ("Patient?identifier=https%3A%2F%2Fsandbox.example%2Fmrn%7CMRN000004", ["patient-0004"]),
    ("Patient?identifier=MRN000004", ["patient-0004"]),
    ("Patient?identifier=|MRN000004", []),
    ("Patient?identifier=https://elsewhere.example/mrn|MRN000004", []),
    # strings: the beginning, without case and accents
    ("Patient?family=papado", ["patient-0009", "patient-0026"]),
    ("Patient?family=S%C3%B8rensen", ["patient-0017"]),
    ("Patient?given=ZOE&family=smith", []),
    ("Patient?given=zoe", ["patient-0013", "patient-0026"]),
    ("Patient?given:exact=zoe", []),
    ("Patient?family:contains=DOPOUL", ["patient-0009", "patient-0026"]),
    ("Patient?name=%E7%8E%8B", ["patient-0011", "patient-0028"]),
    # dates
    ("Patient?birthdate=1951-09-07", ["patient-0001"]),
    ("Patient?birthdate=1951-09", ["patient-0001"]),
    ("Patient?birthdate=ge1951-09-07&birthdate=lt1951-09-08", ["patient-0001"]),
    ("Patient?birthdate=sa2015", ["patient-0004", "patient-0025", "patient-0029"]),
    # tokens
    ("Patient?gender=other,unknown", ["patient-0025"]),
    ("Patient?gender:not=male,female", ["patient-0025"]),
    ("Patient?active=false", ["patient-0013", "patient-0026"]),
    ("Patient?identifier:missing=true", []),
    ("Observation?code=http://loinc.org|8867-4&patient=patient-0002", ["observation-0002-0"]),
    ("Observation?code=http://loinc.org|&_id=observation-0002-1", ["observation-0002-1"]),
    # references, relative, with the type as modifier, and absolute ones that are stored as such
    ("Encounter?subject=Patient/patient-0002", ["encounter-0002"]),
    ("Encounter?subject:Patient=patient-0002", ["encounter-0002"]),
    ("Encounter?patient=patient-0007", ["encounter-0007"]),
    ("Encounter?subject=Group/patient-0002", []),
    ("Encounter?subject=http://elsewhere.example/Patient/patient-0002", []),
    ("Encounter?date=2024-02-07", ["encounter-0001"]),
    ("Observation?encounter=Encounter/encounter-0001&code=2160-0", ["observation-0001-1"]),
    # all that is about a patient
    ("Patient/patient-0007/Encounter", ["encounter-0007"]),
    ("Patient/patient-0007/Observation?code=2160-0", ["observation-0007-1"]),
    ("Patient/patient-0010/*?_count=3", ["encounter-0010", "observation-0010-0", "observation-0010-1"]),
    ("?_type=Patient,Encounter&_id=patient-0001,encounter-0001,observation-0001-1",
     ["patient-0001", "encounter-0001"]),
    # order, and what is not known
    ("Patient?_sort=birthdate&birthdate=lt1942", ["patient-0021", "patient-0017", "patient-0013"]),
    ("Patient?_sort=-birthdate&birthdate=lt1942", ["patient-0013", "patient-0017", "patient-0021"]),
    ("Patient?unheard-of=1&_id=patient-0003", ["patient-0003"]),
)  # fmt: skip


@pytest.mark.parametrize(("target", "expected"), SEARCHES)
async def test_a_search_finds(ask: Client, target: str, expected: list[str]) -> None:
    answer = await ask("GET", target)

    assert (200, expected) == (answer.status, answer.ids)


REFUSED = (
    ("Patient?birthdate=yesterday", 400),
    ("Patient?birthdate=ge", 400),
    ("Patient?_count=many", 400),
    ("Patient?family:nonsense=a", 400),
    ("Patient?_sort=nothing", 400),
    ("Encounter?_include=Encounter:nothing", 400),
    ("Patient?ct=bm9uc2Vuc2U%3D", 400),
    ("Patient/_history?_since=soon", 400),
    ("?_getpages=%C3%BF", 410),
    ("Patient?_format=application/fhir%2Bturtle", 406),
    ("Nonsense?_id=1", 404),
    ("Patient/patient-9999/$everything", 404),
)


@pytest.mark.parametrize(("target", "status"), REFUSED)
async def test_a_senseless_search_is_refused(ask: Client, target: str, status: int) -> None:
    answer = await ask("GET", target)

    assert (status, "OperationOutcome") == (answer.status, answer.json["resourceType"])


async def test_strict_handling_refuses_what_is_not_known(ask: Client) -> None:
    answer = await ask("GET", "Patient?unheard-of=1", Prefer="handling=strict")

    assert answer.status == 400


async def test_an_absolute_reference_is_ours_only_under_the_asked_host(ask: Client) -> None:
    subject = quote(f"{ask.server.base_url}/Patient/patient-0007", safe="")
    port = urlsplit(ask.server.base_url).port
    found = await ask("GET", f"Encounter?subject={subject}")
    stored_absolute = await ask("GET", "Encounter?subject=Patient/patient-0007", Host=f"localhost:{port}")
    stored_relative = await ask("GET", "Encounter?subject=Patient/patient-0002", Host=f"localhost:{port}")

    assert (
        found.ids,
        stored_absolute.ids,
        stored_relative.ids,
    ) == (["encounter-0007"], [], ["encounter-0002"])


async def test_post_search_is_a_search_whose_next_link_is_a_get(ask: Client) -> None:
    form = b"gender=male&_count=3&_total=accurate"
    first = await ask("POST", "Patient/_search", form, Content_Type="application/x-www-form-urlencoded")
    second = await ask("GET", first.link("next"))
    json = await ask("POST", "Patient/_search", {})

    assert (first.json["total"], len(first.ids), len(second.ids), json.status) == (14, 3, 3, 400)


async def test_paging_reaches_every_patient_once_and_in_order(ask: Client) -> None:
    seen: list[str] = []
    pages = 0
    url: str | None = "Patient?_count=7"
    while url:
        answer = await ask("GET", url)
        seen += answer.ids
        pages += 1
        url = answer.link("next")

    assert ([f"patient-{number:04}" for number in range(1, PATIENTS + 1)], 5) == (seen, pages)


async def test_next_keeps_the_parameters_known_to_the_server(ask: Client) -> None:
    system = quote("https://sandbox.example/mrn|", safe="")
    answer = await ask("GET", f"Patient?identifier={system}&unheard-of=1&_count=2&_total=accurate")
    names = [name for name, _ in parse_qsl(urlsplit(answer.link("next")).query)]

    assert names == ["identifier", "_count", "ct"]
    assert f"{ask.server.base_url}/Patient?identifier={system}&_count=2&ct=" in answer.link("next")
    assert (
        answer.link("self") == f"{ask.server.base_url}/Patient?identifier={system}&_count=2&_total=accurate"
    )


async def test_a_page_has_ten_entries_at_most_a_thousand_and_a_total_on_request(ask: Client) -> None:
    plain = await ask("GET", "Observation")
    everything = await ask("GET", "Observation?_count=5000&_total=accurate")
    counted = await ask("GET", "Observation?_summary=count")

    assert (len(plain.ids), "total" in plain.json) == (10, False)
    assert (len(everything.ids), everything.json["total"]) == (90, 90)
    assert (counted.json["total"], counted.ids) == (90, [])


async def test_include_brings_each_patient_of_the_page_once(ask: Client) -> None:
    target = "Observation?patient=patient-0007&_include=Observation:subject&_include=Observation:encounter"
    entries = (await ask("GET", target)).json["entry"]
    modes = [(entry["resource"]["id"], entry["search"]["mode"]) for entry in entries]

    assert modes == [
        ("observation-0007-0", "match"),
        ("observation-0007-1", "match"),
        ("observation-0007-2", "match"),
        ("patient-0007", "include"),
        ("encounter-0007", "include"),
    ]


async def test_everything_of_a_patient_comes_in_pages(ask: Client) -> None:
    first = await ask("GET", "Patient/patient-0010/$everything?_count=4")
    second = await ask("GET", first.link("next"))

    assert first.ids == ["patient-0010", "encounter-0010", "observation-0010-0", "observation-0010-1"]
    assert (second.ids, second.link("next")) == (["observation-0010-2", "document-0010"], None)


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=2**32 - 1), st.sampled_from([0, 100, 8192]))
def test_a_continuation_survives_a_query(offset: int, size: int) -> None:
    paging = Paging(size)
    page = Page("Patient", (("name", "Müller & søn|,+"),), paging.continuation(offset))

    assert (*page.parameters, ("ct", page.continuation)) == query_pairs(page.query)
    assert offset == paging.offset(dict(query_pairs(page.query))["ct"])
    assert size <= len(page.continuation) + 3


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=10_000), st.data())
def test_a_changed_continuation_is_refused(offset: int, data: st.DataObject) -> None:
    paging = Paging()
    token = paging.continuation(offset)
    place = data.draw(st.integers(min_value=0, max_value=len(token) - 1))
    other = data.draw(st.characters().filter(lambda character: character != token[place]))

    with pytest.raises(FhirError):
        paging.offset(token[:place] + other + token[place + 1 :])


@settings(deadline=None)
@given(st.lists(st.text(min_size=1)))
def test_values_come_apart_as_they_were_joined(values: list[str]) -> None:
    assert tuple(values) == split_values(join_values(tuple(values)))
