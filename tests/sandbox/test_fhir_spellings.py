from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import pytest

from proxy.sandbox.fhir import SPELLINGS
from proxy.sandbox.fhir.spellings import Links, Page, from_page_url, port_twice, port_written

from .fhir_running import PATIENTS, running

BASE_PATH = "/fhir/r4"
ALIAS = "http://fhir-server:8080/fhir"

# how a fullUrl, and a next link, begins in the bytes of the body; {h} is host:port, {p} the port
WRITTEN = (
    ("plain", "http://{h}/fhir/r4/Patient/", "http://{h}/fhir/r4/Patient?_count=4&ct="),
    ("escaped-slash", r"http:\/\/{h}\/fhir\/r4\/Patient\/", r"http:\/\/{h}\/fhir\/r4\/Patient?_count=4&ct="),
    (
        "unicode-escape",
        r"http:\u002f\u002f{h}\u002ffhir\u002fr4\u002fPatient\u002f",
        r"http:\u002f\u002f{h}\u002ffhir\u002fr4\u002fPatient?_count=4&ct=",
    ),
    ("character-reference", "http://{h}/fhir/r4/Patient/", "http://{h}/fhir/r4/Patient?_count=4&ct="),
    ("default-port", "http://{h}/fhir/r4/Patient/", "http://{h}/fhir/r4/Patient?_count=4&ct="),
    ("port-twice", "http://{h}:{p}/fhir/r4/Patient/", "http://{h}:{p}/fhir/r4/Patient?_count=4&ct="),
    ("upper-case", "HTTP://{u}/fhir/r4/Patient/", "HTTP://{u}/fhir/r4/Patient?_count=4&ct="),
    ("alias", f"{ALIAS}/Patient/", f"{ALIAS}/Patient?_count=4&ct="),
    ("trailing-slash", "http://{h}/fhir/r4/Patient/", "http://{h}/fhir/r4/Patient/?_count=4&ct="),
    ("getpages", "http://{h}/fhir/r4/Patient/", "http://{h}/fhir/r4?_getpages="),
    (
        "encoded",
        "http://{h}/fhir/r4/Patient/",
        "http://{h}/fhir/r4?_page=http%3A%2F%2F{q}%2Ffhir%2Fr4%2FPatient%3F_count%3D4%26ct%3D",
    ),
    (
        "encoded-twice",
        "http://{h}/fhir/r4/Patient/",
        "http://{h}/fhir/r4?_page=http%253A%252F%252F{qq}%252Ffhir%252Fr4%252FPatient%253F_count%253D4%2526ct%253D",
    ),
    ("relative", "http://{h}/fhir/r4/Patient/", "/fhir/r4/Patient?_count=4&ct="),
)


def test_every_spelling_has_a_row() -> None:
    assert list(SPELLINGS) == [name for name, _, _ in WRITTEN]


@pytest.mark.parametrize(("spelling", "full_url", "following"), WRITTEN)
async def test_links_are_spelled_and_lead_to_the_end(spelling: str, full_url: str, following: str) -> None:
    async with running(base_path=BASE_PATH, spelling=spelling, alias=ALIAS) as ask:
        base = ask.server.base_url
        port = urlsplit(base).port
        host = f"localhost:{port}"
        names = {"h": host, "u": host.upper(), "p": port}
        names |= {"q": f"localhost%3A{port}", "qq": f"localhost%253A{port}"}
        first = await ask("GET", "Patient?_count=4", Host=host)
        created = await ask("POST", "Patient", {"resourceType": "Patient"}, Host=host)
        ids = first.ids
        answer = first
        while url := answer.link("next"):
            # What a client has to undo to follow the link at all.
            reachable = url.replace(ALIAS, base).replace(f"{host}:{port}", host)
            answer = await ask("GET", urljoin(f"{base}/", reachable.replace(host.upper(), host)), Host=host)
            ids += answer.ids

        assert f'"fullUrl":"{full_url.format(**names)}' in first.body.decode()
        assert f'"url":"{following.format(**names)}' in first.body.decode()
        assert PATIENTS + 1 == len(set(ids)) == len(ids)
        unescaped = full_url.format(**names).replace(r"\u002f", "/").replace(r"\/", "/")
        assert created.fields["Location"].startswith(unescaped)


async def test_stored_text_is_spelled_as_it_was_stored() -> None:
    async with running(spelling="escaped-slash") as ask:
        body = (await ask("GET", "Patient?_id=patient-0010")).body.decode()

        assert f'"url":"{ask.server.base_url}/Binary/photo-0010"' in body


async def test_a_base_with_a_trailing_slash_is_advertised() -> None:
    async with running(base_path="/fhir/", spelling="trailing-slash") as ask:
        metadata = (await ask("GET", "/metadata")).json

        assert f"{ask.server.base_url}/" == metadata["implementation"]["url"]
        assert f"{ask.server.base_url}/metadata" == metadata["url"]


PORTS = (
    ("https://fhir.example", "https://fhir.example:443", "https://fhir.example:443:443"),
    ("http://fhir.example/r4", "http://fhir.example:80/r4", "http://fhir.example:80:80/r4"),
    ("https://fhir.example:8443/r4", "https://fhir.example:8443/r4", "https://fhir.example:8443:8443/r4"),
)


@pytest.mark.parametrize(("base", "once", "twice"), PORTS)
def test_the_port_is_written(base: str, once: str, twice: str) -> None:
    assert (once, twice) == (port_written(base, ""), port_twice(base, ""))


@pytest.mark.parametrize(
    "hidden", ["http://other.example/fhir/Patient?a=b", "http%3A%2F%2Flocalhost%2Ffhir2%2FPatient", "Patient"]
)
def test_a_page_of_another_address_is_unknown(hidden: str) -> None:
    with pytest.raises(ValueError, match="is not below"):
        from_page_url(hidden, "http://localhost/fhir")


async def test_a_page_of_another_address_is_answered() -> None:
    async with running(base_path=BASE_PATH, spelling="encoded") as ask:
        answer = await ask("GET", "?_page=http%3A%2F%2Fother.example%2Ffhir%2Fr4%2FPatient")

        assert 410 == answer.status


@pytest.mark.parametrize("path", ["", "Patient"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_system_search_has_links_too(spelling: str, path: str) -> None:
    links = Links("http://localhost:1/fhir", SPELLINGS[spelling], ALIAS)

    url = links.page(Page(path, (("_type", "Patient"),), "a+/="))

    assert "//?" not in url
    assert ("_getpages=" in url) or ("_page=" in url) or url.endswith("?_type=Patient&ct=a%2B%2F%3D")
