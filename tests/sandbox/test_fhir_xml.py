from __future__ import annotations

from xml.etree import ElementTree

import pytest

from proxy.sandbox.fhir import DOCUMENT
from proxy.sandbox.fhir.json_text import Link, Raw, read
from proxy.sandbox.fhir.xml_text import write_xml

from .fhir_running import running

NAMESPACE = {"f": "http://hl7.org/fhir", "h": "http://www.w3.org/1999/xhtml"}


def written(json_text: str) -> str:
    """What stands for a Basic with these members, without the element around them."""
    text = write_xml(read(f'{{"resourceType":"Basic",{json_text}}}'), str)
    head, tail = '<?xml version="1.0" encoding="UTF-8"?><Basic xmlns="http://hl7.org/fhir">', "</Basic>"
    assert text.startswith(head)
    assert text.endswith(tail)
    ElementTree.fromstring(text)
    return text.removeprefix(head).removesuffix(tail)


@pytest.mark.parametrize(
    ("json_text", "expected"),
    [
        ('"id":"a","active":true,"n":1.10,"m":-3', '<id value="a"/><active value="true"/><n value="1.10"/><m value="-3"/>'),
        (r'"a":"<\"&\">\n\t"', '<a value="&lt;&quot;&amp;&quot;&gt;&#10;&#9;"/>'),
        ('"name":[{"given":["A","B"]},{"family":"é"}]', '<name><given value="A"/><given value="B"/></name><name><family value="é"/></name>'),
        ('"name":{"id":"x","text":"y"}', '<name id="x"><text value="y"/></name>'),
        ('"extension":[{"url":"http://x","valueUri":"y"}]', '<extension url="http://x"><valueUri value="y"/></extension>'),
        ('"photo":[{"url":"http://x"}]', '<photo><url value="http://x"/></photo>'),
        ('"a":"x","_a":{"id":"i","extension":[{"url":"u"}]}', '<a id="i" value="x"><extension url="u"/></a>'),
        ('"_a":{"extension":[{"url":"u"}]},"b":1', '<a><extension url="u"/></a><b value="1"/>'),
        ('"a":["x",null],"_a":[null,{"id":"i"}]', '<a value="x"/><a id="i"/>'),
        ('"_a":[{"id":"i"},{"id":"j"}]', '<a id="i"/><a id="j"/>'),
        ('"contained":[{"resourceType":"Patient","id":"p"}]', '<contained><Patient xmlns="http://hl7.org/fhir"><id value="p"/></Patient></contained>'),
        ('"filterBy":[{"resourceType":"Encounter","value":"x"}]', '<filterBy><resourceType value="Encounter"/><value value="x"/></filterBy>'),
        (r'"text":{"div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">a<br/></div>"}', '<text><div xmlns="http://www.w3.org/1999/xhtml">a<br/></div></text>'),
        ('"text":{"div":"a & b"}', '<text><div xmlns="http://www.w3.org/1999/xhtml">a &amp; b</div></text>'),
    ],
)  # fmt: skip
def test_elements(json_text: str, expected: str) -> None:
    assert expected == written(json_text)


def test_links_alone_are_spelled() -> None:
    bundle = {
        "resourceType": "Bundle",
        "link": [{"url": Link("http://x/y?a&b")}],
        "entry": [{"resource": Raw('{"resourceType":"Patient","photo":[{"url":"http://x/z"}]}')}],
    }

    text = write_xml(bundle, lambda text: text.replace("/", "&#x2F;"))

    assert '<url value="http:&#x2F;&#x2F;x&#x2F;y?a&amp;b"/>' in text
    assert '<entry><resource><Patient xmlns="http://hl7.org/fhir"><photo><url value="http://x/z"/>' in text


@pytest.mark.parametrize("target", ["Patient?_count=3&_format=xml", "Patient?_count=3"])
async def test_answers_are_xml_where_it_is_asked_for(target: str) -> None:
    async with running() as ask:
        answer = await ask("GET", target, Accept="application/fhir+xml")
        bundle = ElementTree.fromstring(answer.body)

        assert "application/fhir+xml; charset=utf-8" == answer.fields["Content-Type"]
        assert len(bundle.findall("f:entry/f:resource/f:Patient", NAMESPACE)) == 3
        assert f"{ask.server.base_url}/{target}&ct=" in bundle.find("f:link/f:url", NAMESPACE).get("value")


async def test_resources_outcomes_and_metadata_are_xml_too() -> None:
    async with running() as ask:
        found, missing, metadata = [
            await ask("GET", target, Accept="application/fhir+xml")
            for target in ("Patient/patient-0010", "Patient/x", "metadata")
        ]

        assert ElementTree.fromstring(found.body).find("f:text/h:div/h:a", NAMESPACE) is not None
        assert (
            ElementTree.fromstring(missing.body).find("f:issue/f:code", NAMESPACE).get("value") == "not-found"
        )
        assert ElementTree.fromstring(metadata.body).find("f:rest/f:resource", NAMESPACE) is not None


@pytest.mark.parametrize(
    ("accept", "is_content"), [("application/fhir+xml", False), ("application/xml", True)]
)
async def test_a_binary_is_a_resource_only_for_fhirs_own_type(accept: str, is_content: bool) -> None:
    async with running() as ask:
        answer = await ask("GET", "Binary/document-0010", Accept=accept)

        assert is_content is (answer.body == DOCUMENT)


async def test_a_browser_gets_json() -> None:
    async with running() as ask:
        answer = await ask("GET", "Patient/patient-0001", Accept="text/html,application/xml;q=0.9,*/*;q=0.8")

        assert answer.json["id"] == "patient-0001"
