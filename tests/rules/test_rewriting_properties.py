"""Invariants of the rewriting over generated documents."""

from __future__ import annotations

import json
import re
import tracemalloc
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.model import BaseUrl
from proxy.rules import json_places, xml_places
from proxy.rules.rewriting import Rewriter, request_rewriter, response_rewriter
from proxy.rules.urls import UrlMap

from . import slow_rewriting
from .slow_rewriting import rewritten

URL_MAP = UrlMap(
    BaseUrl.parse("https://fhir.example.org/fhir"), authorities=("localhost:8080", "127.0.0.1:8080")
)
LOCAL = b"http://localhost:8080/fhir"
U, B = "https://fhir.example.org/fhir", "http://localhost:8080/fhir"
ODD, ODD_MARK = "HTTPS://Fhir.Example.Org:443/fhir", "SFRUUFM6Ly9GaGlyLkV4YW1wbGUuT3JnOjQ0My9maGly"
SPELLINGS = {
    U: B,
    r"https:\/\/fhir.example.org\/fhir": r"http:\/\/localhost:8080\/fhir",
    "https%3A%2F%2Ffhir.example.org%2Ffhir": "http%3A%2F%2Flocalhost%3A8080%2Ffhir",
    ODD: f"{B}/u/{ODD_MARK}",
    ODD.replace("/", r"\/"): rf"http:\/\/localhost:8080\/fhir\/u\/{ODD_MARK}",
    quote(ODD, safe=""): f"http%3A%2F%2Flocalhost%3A8080%2Ffhir%2Fu%2F{ODD_MARK}",
}
"""How the server may write its address, and what the tool sees then; an odd spelling is carried in a mark."""

NAMES = st.sampled_from(
    [
        "url",
        "reference",
        "fullUrl",
        "location",
        "definition",
        "valueUri",
        "system",
        "request",
        "next",
        "x",
        "link",
        "photo",
        "parameter",
        "operation",
        "response",
        "output",
        "entry",
        "resource",
        "expansion",
    ]
).flatmap(lambda name: st.sampled_from([f'"{name}"', f'"{name}"', f'"\\u{ord(name[0]):04x}{name[1:]}"']))
REST = st.sampled_from(
    ["", "/Patient/1", "?a=1", r"\/Patient\/1", "|1", "-test", "2", ".bak", "%20", ":8443", "?u=" + U]
    + [f"/x?u={url}" for url in SPELLINGS]
    + [f"?u={url}&v={url},{url}2" for url in SPELLINGS]
    + [f"?u={url}%2FPatient%2F1" for url in SPELLINGS]
    + [f"?u={url}%252FPatient%2D{url}%20" for url in SPELLINGS]
)
TEXT = st.text(st.sampled_from(r'"\/[]{}:, né' + "\n\U0001f525"), max_size=8).map(json.dumps)
ADDRESS = st.builds("{}{}".format, st.sampled_from(list(SPELLINGS)), REST)
STRINGS = st.one_of(
    ADDRESS.map('"{}"'.format),
    ADDRESS.map('"{}"'.format),
    ADDRESS.map('"see {}"'.format),
    ADDRESS.map('"\\"{}\\""'.format),
    st.sampled_from(['"' + U[:length] + '"' for length in (1, 8, 12, len(U) - 1)]),
    TEXT,
)
WHITE = st.sampled_from(["", "", "", " ", "\n  ", "\r\n\t"])


@st.composite
def json_values(draw: st.DrawFn, depth: int = 5) -> str:
    kind = draw(st.sampled_from("soa" if depth else "s"))
    if kind == "s":
        return draw(st.one_of(STRINGS, st.sampled_from(["1.10", "true", "null", "-0e5"])))
    members = [draw(json_values(depth - 1)) for _ in range(draw(st.integers(0, 3)))]
    if kind == "o":
        members = [f"{draw(NAMES)}{draw(WHITE)}:{draw(WHITE)}{member}" for member in members]
    inside = f"{draw(WHITE)},{draw(WHITE)}".join(members)
    return f"{'{' if kind == 'o' else '['}{draw(WHITE)}{inside}{draw(WHITE)}{'}' if kind == 'o' else ']'}"


XML_NAMES = ["url", "reference", "fullUrl", "location", "valueUri", "system", "x"]
XML_HOLDERS = ["link", "photo", "parameter", "response", "extension", "resource", "f:link", "div"]


@st.composite
def xml_elements(draw: st.DrawFn, parent: str = "", depth: int = 4) -> tuple[str, str]:
    """An element as it is sent and as it must come out."""
    kind = draw(st.sampled_from("vvhhhctp" if depth else "vct"))
    url = draw(st.sampled_from([U, ODD, "https:&#x2F;&#47;fhir.example.org/fhir"]))
    if kind == "v":
        name, quote = draw(st.sampled_from(XML_NAMES)), draw(st.sampled_from("\"'"))
        rest = draw(st.sampled_from(["", "/x", "?a=1&amp;b=2", "-test", " "]))
        head = f"<{name}{draw(WHITE)} {draw(st.sampled_from(['', 'id = ' + quote + 'a>/' + quote + ' ']))}value{draw(WHITE)}="
        local = {U: B, ODD: SPELLINGS[ODD]}.get(url, "http:&#x2F;&#47;localhost:8080/fhir")
        mapped = rest != "-test" and slow_rewriting.is_address(name, parent.removeprefix("f:"))
        tail = draw(st.sampled_from([f"{quote}/>", f"{quote} ></{name}>"]))
        return f"{head}{quote}{url}{rest}{tail}", f"{head}{quote}{local if mapped else url}{rest}{tail}"
    if kind == "h":
        name = draw(st.sampled_from(XML_HOLDERS))
        children = [draw(xml_elements(name, depth - 1)) for _ in range(draw(st.integers(0, 3)))]
        opening = f"<{name}{draw(st.sampled_from(['', f' url={chr(34)}{U}{chr(34)}']))}>"
        return tuple(f"{opening}{''.join(child[side] for child in children)}</{name}>" for side in (0, 1))  # type: ignore[return-value]
    inert = {
        "c": f'<!-- <fullUrl value="{url}"/> > " -->',
        "t": f'text " {url} value="',
        "p": f'<?p <fullUrl value="{url}"/> ?><![CDATA[<photo> <fullUrl value="{url}"/>]]>',
    }[kind]
    return inert, inert


def fed(rewriter: Rewriter | None, body: bytes, *, size: int = 1 << 30, first: int = 0) -> bytes:
    assert rewriter is not None
    pieces = [body[:first], *(body[at : at + size] for at in range(first, len(body), size))]
    return b"".join([*(rewriter.feed(piece) for piece in pieces), rewriter.flush()])


def down(document: str, media_type: str = "application/json", **cut: int) -> str:
    return fed(response_rewriter(media_type, URL_MAP, LOCAL), document.encode(), **cut).decode()


def up(document: str, media_type: str = "application/json") -> str:
    return fed(request_rewriter(media_type, URL_MAP), document.encode()).decode()


@given(json_values(), st.integers(1, 40), st.integers(0, 200))
def test_json_equals_the_slow_way_wherever_it_is_cut(document: str, size: int, first: int) -> None:
    assert rewritten(document, SPELLINGS) == down(document, size=size, first=first)


@given(json_values(), st.integers(1, 40), st.integers(1, 60))
def test_json_equals_the_slow_way_when_little_is_kept_unread(document: str, size: int, kept: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_places, "MOST_UNREAD", kept)
        patch.setattr(json_places, "_NEAR", 8)
        patch.setattr(json_places, "_ROUNDS", 1)
        made = down(document, size=size)

    assert rewritten(document, SPELLINGS) == made


@given(st.lists(json_values().map(lambda text: re.sub(r"[\n\r]", " ", text)), max_size=4), st.integers(1, 60))
def test_ndjson_is_one_document_a_line(lines: list[str], size: int) -> None:
    expected = "".join(rewritten(line, SPELLINGS) + "\n" for line in lines)

    assert expected == down("".join(line + "\n" for line in lines), "application/ndjson", size=size)


@given(json_values())
def test_what_came_down_goes_up_as_it_was(document: str) -> None:
    assert document == up(down(document))


@given(st.text(st.sampled_from(list('htp:/locals8080fir"\\u%2F3A x.-')), max_size=60))
@example("http://localhost:8080/fhirhttp://localhost:8080/fhir")
@example("http://localhost:8080http://localhost:8080")
@example(f"/u/{ODD_MARK}/Patient http://127.0.0.1:8080/fhir/u/")
def test_result_of_any_text_does_not_depend_on_the_cut(text: str) -> None:
    body = f"http://localhost:8080{text}http://localhost:8080/fhir".encode()
    whole = fed(request_rewriter("application/json", URL_MAP), body)

    assert all(
        whole == fed(request_rewriter("application/json", URL_MAP), body, first=cut)
        for cut in range(len(body))
    )


@given(xml_elements(), st.integers(1, 40), st.sampled_from([1, 50, xml_places.MOST_UNREAD]))
def test_xml_comes_out_as_generated_wherever_it_is_cut(pair: tuple[str, str], size: int, kept: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(xml_places, "MOST_UNREAD", kept)
        made = down(pair[0], "text/xml", size=size)

    assert pair[1] == made


@given(xml_elements())
def test_what_came_down_in_xml_goes_up_as_it_was(pair: tuple[str, str]) -> None:
    sent, _ = pair

    assert sent == up(down(sent, "text/xml"), "text/xml")


def test_nothing_local_goes_up() -> None:
    body = "".join(
        f'"{local}{end}' for local in SPELLINGS.values() for end in ('"', '/x"', r'\n"', ' "', '?a"')
    )

    assert not re.search("localhost|8080|/u/", up(body))


@pytest.mark.parametrize(
    ("kept", "before", "after"),
    [
        (999, '{"output":[', "]}"),
        (999, '{"photo":[{"data":"' + "A" * 5000 + '"},', "]}"),
        (7, '{"photo":[{"data":"' + "\\\\\\n" * 500 + '"},', "]}"),
        (99, '{"link":[{"n":[' + "1,[2],{}," * 999 + "0]},", "]}"),
        (99, '{"link" ' + " " * 999 + ":" + " " * 999 + "[", "]}"),
        (99, '{"' + "k" * 999 + '":[{"a":"' + "{" * 999 + '"}],"link":[', "]}"),
    ],
)
@pytest.mark.parametrize("size", [1, 13, 1000, 1 << 30])
def test_far_away_parents_are_known(
    kept: int, before: str, after: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_places, "MOST_UNREAD", kept)
    item = '{"type":"Patient","extension":[{"url":"%s/x"}],"url":"%s/y"}'
    document = before + ",".join([item % (U, U)] * 50) + after

    assert document.replace(U + "/y", B + "/y") == down(document, size=size)


@pytest.mark.parametrize("kept", [7, 99, 999])
@pytest.mark.parametrize("size", [1, 13, 1000, 1 << 30])
def test_far_away_parents_in_xml_are_known(kept: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml_places, "MOST_UNREAD", kept)
    item = f'<url value="{U}/y"/><!-- {"c" * 99}<a --><extension url="{U}"><url value="{U}/n"/></extension>'
    data = f'<data id="1" value="{"A" * 500}"/><![CDATA[{"<b>" * 99}]]><?p {"<b>" * 99}?>'
    document = f"<Patient><photo>{(data + item) * 20}</photo></Patient>"

    assert document.replace(U + "/y", B + "/y") == down(document, "text/xml", size=size)


JSON_ENTRY = (
    f'{{"fullUrl":"{U}/Patient/1","resource":{{"text":{{"div":"<a b=\\"c\\">{"x" * 800}"}},'
    f'"photo":[{{"url":"{U}/Binary/1"}}],"managingOrganization":{{"reference":"{U}/Organization/1"}}}}}},'
)
XML_ENTRY = f'<entry><fullUrl value="{U}/Patient/1"/><resource>{"x" * 800}</resource></entry>'


@pytest.mark.parametrize(
    ("media_type", "head", "repeated"),
    [
        ("application/json", '{"entry":[', JSON_ENTRY),
        ("application/json", '{"entry":[{"resource":{', '"a":[1, 2, 3, {}],\n "b":[{"c":"d"}],'),
        ("application/json", '{"data":"', "A"),
        ("application/json", '{"data":"', "\\n\\\\"),
        ("application/json", "[", "1,"),
        ("application/json", '{"a":', " "),
        ("application/ndjson", "", JSON_ENTRY.rstrip(",") + "\n"),
        ("application/ndjson", '{"entry":[', JSON_ENTRY),
        ("text/xml", "<Bundle>", XML_ENTRY),
        ("text/xml", '<Binary><data value="', "A"),
        ("text/xml", '<Binary><data value="', "it's "),
        ("text/xml", "<Bundle><!--", "a - <b"),
        ("text/xml", "<Bundle><![CDATA[", "a ] <b"),
        ("text/xml", "<Bundle><b>", "text "),
    ],
)
def test_memory_stays_flat(media_type: str, head: str, repeated: str) -> None:
    chunk = (repeated * (65536 // len(repeated))).encode()
    rewriter = response_rewriter(media_type, URL_MAP, LOCAL)
    assert rewriter is not None
    rewriter.feed(head.encode())
    tracemalloc.start()
    for _ in range((50 if U not in repeated else 12) * 1024 * 1024 // len(chunk)):
        rewriter.feed(bytes(bytearray(chunk)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 3 * 1024 * 1024
