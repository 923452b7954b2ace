"""Invariants of the rewriting over every official example of R4 and R5, with the server's URL put into them.

FHIR_EXAMPLES names a folder with the packages; by default npm fetches them, once, beside this file.
"""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from proxy.model import BaseUrl
from proxy.rules.rewriting import Rewriter, request_rewriter, response_rewriter
from proxy.rules.urls import UrlMap
from proxy.sandbox.fhir.json_text import read
from proxy.sandbox.fhir.xml_text import write_xml

from ..clients.building import missing, needed, run
from .slow_rewriting import is_address

PACKAGES = {"R4": "hl7.fhir.r4.examples-4.0.1.tgz", "R5": "hl7.fhir.r5.examples-5.0.0.tgz"}
FOLDER = Path(os.environ.get("FHIR_EXAMPLES", Path(__file__).parent / "examples"))

U, B = b"https://fhir.example.org/fhir", b"http://localhost:47113/fhir"
URL_MAP = UrlMap(BaseUrl.parse(U.decode()), authorities=("localhost:47113",))
JSON, XML = "application/fhir+json", "application/fhir+xml"
ODD = b"HTTPS://FHIR.example.org:443/fhir"
ODD_LOCAL = B + b"/u/SFRUUFM6Ly9GSElSLmV4YW1wbGUub3JnOjQ0My9maGly"

OFFICIAL_BASE = re.compile(rb"http://hl7\.org/fhir(?=[/\"])")
RELATIVE_REFERENCE = re.compile(rb'("reference"\s*:\s*")(?=[A-Z][A-Za-z]+/)')

PARSED_EVERY, CUT_EVERY = 3, 20
"""Each how many-th example is looked at place by place, and cut into small pieces: both take long in Python."""

SMALL, LARGE_EVERY = 65_536, 20
"""Bytes up to which every example becomes XML, and each how many-th of the larger ones, a twentieth of them all."""


def package(name: str) -> Path:
    path = FOLDER / PACKAGES[name]
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        specification = path.name.removesuffix(".tgz")[::-1].replace("-", "@", 1)[::-1]
        done = run([needed("npm"), "pack", "--silent", "--pack-destination", str(FOLDER), specification], 120)
        if done.returncode:
            missing(f"{specification} cannot be fetched: {done.stderr}")
    return path


def examples(name: str) -> Iterator[tuple[str, bytes]]:
    """The documents as a server at U would send them.

    What lies under HL7's own base comes to lie under U, identities and addresses alike.
    """
    with tarfile.open(package(name)) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.name.endswith(".json") else None
            if content is not None and not member.name.endswith(("package.json", ".index.json")):
                text = RELATIVE_REFERENCE.sub(rb"\1" + U + b"/", content.read())
                yield member.name, OFFICIAL_BASE.sub(U, text)


def fed(rewriter: Rewriter | None, body: bytes, size: int) -> bytes:
    assert rewriter is not None
    pieces = [rewriter.feed(body[at : at + size]) for at in range(0, len(body), size)]
    return b"".join([*pieces, rewriter.flush()])


def down(body: bytes, size: int = 65536, media_type: str = JSON) -> bytes:
    return fed(response_rewriter(media_type, URL_MAP, B), body, size)


def up(body: bytes, size: int = 65536, media_type: str = JSON) -> bytes:
    return fed(request_rewriter(media_type, URL_MAP), body, size)


def strings(value: object, name: str = "", parent: str = "") -> Iterator[tuple[str, str, str]]:
    """Each string of a parsed document with its element's name and its parent's."""
    if isinstance(value, str):
        yield name, parent, value
    elif isinstance(value, list):
        for one in value:
            yield from strings(one, name, parent)
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from strings(one, key, name)


def is_under(base: bytes, value: str) -> bool:
    text = base.decode()
    return value == text or value.startswith((text + "/", text + "?", text + "#"))


@pytest.fixture(scope="module", params=PACKAGES)
def documents(request: pytest.FixtureRequest) -> list[tuple[str, bytes]]:
    return list(examples(request.param))


def test_what_comes_down_and_goes_up_is_what_the_server_has(documents: list[tuple[str, bytes]]) -> None:
    changed = 0
    for name, sent in documents:
        assert b"localhost:47113" not in sent, name
        shown = down(sent)
        changed += shown != sent

        # Outside of the replaced spans nothing has changed, and what goes up is the same to the byte.
        assert shown.replace(B, U) == sent, name
        assert up(shown) == sent, name

    assert changed > 300


def test_each_address_is_local_and_each_identity_stays(documents: list[tuple[str, bytes]]) -> None:
    seen = {True: 0, False: 0}
    for name, sent in documents[::PARSED_EVERY]:
        pairs = zip(strings(json.loads(sent)), strings(json.loads(down(sent))), strict=True)
        for (element, parent, before), (_, _, after) in pairs:
            if not is_under(U, before):
                assert before == after, name
                continue
            address = is_address(element, parent)
            seen[address] += 1
            assert is_under(B if address else U, after), (name, parent, element)

    assert min(seen.values()) > 500


def test_no_cut_makes_a_difference(documents: list[tuple[str, bytes]]) -> None:
    for number, (name, sent) in enumerate(documents[::CUT_EVERY]):
        body = sent[:20_000]
        whole = down(body, len(body))
        for size in (1 + number % 7, 50 + number % 41, 1000 + number):
            assert down(body, size) == whole, (name, size)
            assert up(whole, size) == up(whole, len(whole)), (name, size)


# In XML. The packages hold JSON alone, so the examples are written as XML here, every other one by a server that spells
# its address in an odd way.


@pytest.fixture(scope="module")
def xml_documents(documents: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    larger = [pair for pair in documents if len(pair[1]) > SMALL]
    chosen = [pair for pair in documents if len(pair[1]) <= SMALL] + larger[::LARGE_EVERY]
    written = [(name, write_xml(read(body), str).encode()) for name, body in chosen]
    return [
        (name, body.replace(U, ODD) if number % 2 else body) for number, (name, body) in enumerate(written)
    ]


def test_what_comes_down_in_xml_and_goes_up_is_what_the_server_has(
    xml_documents: list[tuple[str, bytes]],
) -> None:
    changed = 0
    for name, sent in xml_documents:
        shown = down(sent, media_type=XML)
        changed += shown != sent

        assert shown.replace(ODD_LOCAL, ODD).replace(B, U) == sent, name
        assert up(shown, media_type=XML) == sent, name

    assert changed > 300


def values(element: ElementTree.Element, parent: str = "") -> Iterator[tuple[str, str, str]]:
    """Each value of a parsed document with its element's name and its parent's."""
    name = element.tag.rpartition("}")[2]
    if "value" in element.attrib:
        yield name, parent, element.attrib["value"]
    for child in element:
        yield from values(child, name)


def test_each_address_in_xml_is_local_and_each_identity_stays(xml_documents: list[tuple[str, bytes]]) -> None:
    seen = {True: 0, False: 0}
    for name, sent in xml_documents[::PARSED_EVERY]:
        before, after = (values(ElementTree.fromstring(body)) for body in (sent, down(sent, media_type=XML)))
        for (element, parent, old), (_, _, new) in zip(before, after, strict=True):
            under = next((base for base in (U, ODD) if is_under(base, old)), None)
            if under is None:
                assert old == new, name
                continue
            address = is_address(element, parent)
            seen[address] += 1
            assert is_under(B if address else under, new), (name, parent, element)

    assert min(seen.values()) > 500


def test_no_cut_makes_a_difference_in_xml(xml_documents: list[tuple[str, bytes]]) -> None:
    for number, (name, sent) in enumerate(xml_documents[::CUT_EVERY]):
        body = sent[:20_000]
        whole = down(body, len(body), XML)
        for size in (1 + number % 7, 50 + number % 41, 1000 + number):
            assert down(body, size, XML) == whole, (name, size)
            assert up(whole, size, XML) == up(whole, len(whole), XML), (name, size)
